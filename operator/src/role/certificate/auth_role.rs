//! The role on `auth/cert` that takes a VaultRole's certificates.

use vaultkeeper_crds::names::CERT_AUTH_PATH;
use vaultkeeper_vault::Client;
use vaultkeeper_vault::auth::cert;
use vaultkeeper_vault::auth::params::TokenParams;

use super::super::Identity;
use super::super::error::Error;
use super::super::execute::found;
use super::crl;
use crate::context::Context;

/// The CA that signs now and the one before, if that is another: who has not read the Secret again is let in still.
pub(super) fn both(now: &str, before: &str) -> String {
    let first = |pem: &str| {
        let end = "-----END CERTIFICATE-----";
        pem.find(end)
            .map_or(pem, |at| &pem[..at + end.len()])
            .trim()
            .to_owned()
    };
    let (now, before) = (first(now), first(before));
    let mut cas = format!("{now}\n");
    if now != before {
        cas.push_str(&before);
        cas.push('\n');
    }
    cas
}

/// The role that takes certificates of these CAs with this URI.
pub(super) fn role_of(identity: &Identity, trust: &str, uri: &str, token: &TokenParams) -> cert::Role {
    cert::Role {
        certificate: trust.to_owned(),
        display_name: identity.vault_name(),
        allowed_uri_sans: vec![uri.to_owned()],
        token: token.clone(),
        ..cert::Role::default()
    }
}

fn is_same(found: &cert::Role, wanted: &cert::Role) -> bool {
    let found = cert::Role {
        certificate: found.certificate.trim().to_owned(),
        token: found.token.clone().normalised(),
        ..found.clone()
    };
    let wanted = cert::Role {
        certificate: wanted.certificate.trim().to_owned(),
        token: wanted.token.clone().normalised(),
        ..wanted.clone()
    };
    found == wanted
}

/// Writes the role if it is not there as it is wanted. Says whether it was written.
pub(super) async fn write_role(
    ctx: &Context,
    vault: &Client,
    identity: &Identity,
    wanted: cert::Role,
) -> Result<bool, Error> {
    let method = vault.cert(CERT_AUTH_PATH);
    let name = identity.vault_name();
    let there = found("read the certificate auth role", method.read_role(&name).await)?;
    if there.is_some_and(|there| is_same(&there, &wanted)) {
        return Ok(false);
    }
    // Whoever removed the whole auth method has removed the list as well.
    crl::publish(ctx, vault, &identity.cluster).await?;
    let written = method.write_role(&name, &wanted).await;
    written.map_err(|e| Error::vault("write the certificate auth role", e))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::super::secret::tests::identity;
    use super::super::ca::ClientCa;
    use super::*;

    #[test]
    fn the_role_takes_one_uri_of_one_ca_and_nothing_else() {
        let now = super::super::ca::tests::NOW;
        let ca = ClientCa::new("vault", "main", now).unwrap();
        let token = TokenParams {
            policies: vec!["shop.app".to_owned()],
            ..TokenParams::default()
        };
        let uri = super::super::uri_of(&identity());
        assert!(uri.ends_with(&format!("/{}", identity().uid)), "{uri}");
        let role = role_of(&identity(), &ca.certificate, &uri, &token);
        assert_eq!(role.allowed_uri_sans, [uri]);
        assert_eq!(role.certificate, ca.certificate);
        assert_eq!(role.token, token);
    }

    #[test]
    fn what_vault_reads_back_is_the_same_and_what_somebody_changed_is_not() {
        let wanted = cert::Role {
            certificate: "PEM\n".to_owned(),
            allowed_uri_sans: vec!["spiffe://a".to_owned()],
            ..cert::Role::default()
        };
        let mut there = cert::Role {
            certificate: "PEM".to_owned(),
            ..wanted.clone()
        };
        assert!(is_same(&there, &wanted), "without its last line break");
        there.allowed_uri_sans.push("*".to_owned());
        assert!(!is_same(&there, &wanted), "everybody may log in");
        there.allowed_uri_sans.pop();
        there.certificate += "\nANOTHER";
        assert!(!is_same(&there, &wanted), "another CA is trusted");
    }

    #[test]
    fn a_renewed_certificate_of_another_ca_leaves_the_one_before_its_ca() {
        let pem = |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        let (a, b, c) = (pem("a"), pem("b"), pem("c"));
        assert_eq!(both(&a, &a), a);
        assert_eq!(both(&b, &a), format!("{b}{a}"));
        assert_eq!(
            both(&c, &format!("{b}{a}")),
            format!("{c}{b}"),
            "and no older one"
        );
    }
}
