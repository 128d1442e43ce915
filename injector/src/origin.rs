//! Which settings of the connection to Vault the agent can use. Its client refuses all others on every try, so that a pod
//! with one would wait for ever. These rules are the client's; a test of the tier `api` compares the two.

use axum::http::HeaderValue;
use rustls_pki_types::ServerName;
use url::Url;

/// Reads the address of a Vault server and writes it as one: scheme, host and port, without a slash at the end.
///
/// # Errors
/// What is wrong with it. A user or password in it is not repeated.
pub fn address(given: &str) -> Result<String, String> {
    let wrong = |what: &str| format!("{what}: write one such as \"https://vault.vault.svc:8200\"");
    // Before anything that repeats the address.
    if given.contains('@') {
        return Err(wrong("the address must not hold a user or password"));
    }
    let wrong = |what: &str| wrong(&format!("{given:?} is not the address of a Vault server: {what}"));
    let url = Url::parse(given.trim_end_matches('/').trim()).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(wrong("its scheme is neither https nor http"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("it has no host"));
    }
    if url.query().is_some() || url.fragment().is_some() || url.path() != "/" {
        return Err(wrong("it must end after the port"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether an address that [`address`] wrote is reached over TLS.
pub fn is_https(address: &str) -> bool {
    address.starts_with("https://")
}

/// Reads the name that a server's certificate must hold.
///
/// # Errors
/// It is not a DNS name.
pub fn server_name(given: &str) -> Result<String, String> {
    let is_ip = given.parse::<std::net::IpAddr>().is_ok();
    if !is_ip && matches!(ServerName::try_from(given), Ok(ServerName::DnsName(_))) {
        return Ok(given.to_owned());
    }
    Err(format!(
        "{given:?} is not a DNS name: write one that Vault's certificate holds, such as \"vault.vault.svc\""
    ))
}

/// Reads a namespace of Vault's, which travels in a header.
///
/// # Errors
/// A character that no header can hold.
pub fn namespace(given: &str) -> Result<String, String> {
    match HeaderValue::from_str(given) {
        Ok(_) => Ok(given.to_owned()),
        Err(_) => Err(format!(
            "{given:?} holds a character that no header can hold: write the path of a namespace in Vault"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_plain_origin() {
        for (given, written) in [
            ("https://vault:8200", "https://vault:8200"),
            ("https://vault:8200/", "https://vault:8200"),
            ("HTTPS://Vault:8200", "https://vault:8200"),
            ("http://127.0.0.1", "http://127.0.0.1"),
            ("https://[::1]:8200", "https://[::1]:8200"),
        ] {
            assert_eq!(
                address(given).as_deref(),
                Ok(written),
                "{given} is an address, however it is written"
            );
        }
        for (given, reason) in [
            ("", "relative URL"),
            ("vault:8200", "scheme"),
            ("ftp://vault", "scheme"),
            ("https://", "host"),
            ("https://a b", "domain"),
            ("https://vault:port", "port"),
            ("https://vault:65536", "port"),
            ("https://vault:8200/v1", "end after the port"),
            ("https://vault?x", "end after the port"),
            ("https://vault#x", "end after the port"),
        ] {
            let problem = address(given).expect_err("the agent refuses it");
            assert!(
                problem.contains(reason) && problem.contains("write one such as"),
                "{given:?} should be refused with {reason:?} and a remedy: {problem}"
            );
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        let problem = address("https://user:s3cret@vault:8200").expect_err("it holds a password");
        assert!(
            problem.contains("user or password") && !problem.contains("s3cret"),
            "only what is wrong: {problem}"
        );
    }

    #[test]
    fn the_name_of_a_certificate_is_a_dns_name() {
        assert_eq!(server_name("vault.internal").as_deref(), Ok("vault.internal"));
        for given in ["10.0.0.1", "::1", "https://vault", "a b", ""] {
            assert!(server_name(given).is_err(), "{given:?} is no DNS name");
        }
    }

    #[test]
    fn a_namespace_fits_into_a_header() {
        assert_eq!(namespace("team-a/b").as_deref(), Ok("team-a/b"));
        assert!(namespace("team\na").is_err(), "a line break would end the header");
    }
}
