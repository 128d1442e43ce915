//! For each rule: an observation under which it is met, and neighbours one field apart under which it is not.

use super::super::RootToken;
use super::*;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 24 * 3600;

fn wish() -> Wish {
    Wish {
        replicas: 3,
        hardened: true,
        storage: Keeps::Raft,
        plain: Vec::new(),
    }
}

fn member(ordinal: u32) -> MemberFacts {
    MemberFacts {
        name: format!("main-{ordinal}"),
        state: "Standby",
        answers: true,
        serves: true,
        seal: Some("awskms".to_owned()),
        untrusted: false,
    }
}

fn device(path: &str) -> Device {
    Device {
        path: path.to_owned(),
        ..Device::default()
    }
}

/// All rules are met.
fn good() -> Observations {
    Observations {
        tokens: Ok(Tokens::default()),
        stored_root_token: false,
        members: (0..3).map(member).collect(),
        voters: Ok(3),
        certificate: Ok(Some(Lifetime {
            begin: NOW - 10 * DAY,
            end: NOW + 80 * DAY,
        })),
        audit: Ok(vec![device("stdout"), device("siem")]),
        network: Ok(Network::Applied),
        policies: Ok(Policies::default()),
        mfa: Ok(Enforcements {
            effective: vec!["people".to_owned()],
            idle: Vec::new(),
        }),
        key_made: Ok(NOW - KEY_AGE),
        app_roles: Ok(AppRoles::default()),
        backups: Standing::Good("fresh".to_owned()),
    }
}

fn of(wish: &Wish, observed: &Observations, rule: ReadinessRule) -> Verdict {
    let verdicts = judge(wish, observed, NOW);
    assert_eq!(verdicts.len(), 10, "there are ten rules");
    let found = verdicts.into_iter().find(|(r, _)| *r == rule);
    found.expect("every rule is judged").1
}

/// The change makes this rule fail, with these words, and no other.
#[track_caller]
fn fails(rule: ReadinessRule, words: &str, change: impl FnOnce(&mut Wish, &mut Observations)) {
    let (mut wish, mut observed) = (wish(), good());
    change(&mut wish, &mut observed);
    for (other, verdict) in judge(&wish, &observed, NOW) {
        match verdict {
            Verdict::Failed(text) if other == rule => {
                assert!(text.contains(words), "{rule:?} should say {words:?}: {text}");
                assert!(text.len() > words.len() + 20, "and what to do: {text}");
            }
            Verdict::Met(_) if other != rule => {}
            verdict => panic!("{other:?} after a change that breaks {rule:?}: {verdict:?}"),
        }
    }
}

#[track_caller]
fn unknown(rule: ReadinessRule, change: impl FnOnce(&mut Observations)) {
    let mut observed = good();
    change(&mut observed);
    let verdict = of(&wish(), &observed, rule);
    assert!(matches!(verdict, Verdict::Unknown(_)), "{rule:?}: {verdict:?}");
}

#[track_caller]
fn met(rule: ReadinessRule, change: impl FnOnce(&mut Wish, &mut Observations)) {
    let (mut wish, mut observed) = (wish(), good());
    change(&mut wish, &mut observed);
    let verdict = of(&wish, &observed, rule);
    assert!(matches!(verdict, Verdict::Met(_)), "{rule:?}: {verdict:?}");
}

#[test]
fn every_rule_can_be_met() {
    for (rule, verdict) in judge(&wish(), &good(), NOW) {
        assert!(matches!(verdict, Verdict::Met(_)), "{rule:?}: {verdict:?}");
    }
}

#[test]
fn a_root_token_in_vault_or_in_a_secret_fails_its_rule() {
    let rule = ReadinessRule::NoRootToken;
    fails(rule, "vault token revoke -accessor", |_, o| {
        let root = RootToken {
            accessor: "acc-1".to_owned(),
            path: "auth/token/root".to_owned(),
        };
        o.tokens = Ok(Tokens {
            roots: vec![root],
            left: 7,
        });
    });
    fails(rule, "the key Secret holds a root token", |_, o| {
        o.stored_root_token = true;
    });
    unknown(rule, |o| {
        o.tokens = Ok(Tokens {
            roots: Vec::new(),
            left: 1,
        });
    });
    unknown(rule, |o| o.tokens = Err("denied".to_owned()));
}

#[test]
fn a_seal_whose_key_lies_in_a_secret_fails_its_rule() {
    let rule = ReadinessRule::AutoUnseal;
    for kind in ["shamir", "static"] {
        fails(rule, "main-1 has a", |_, o| {
            o.members[1].seal = Some(kind.to_owned());
        });
    }
    for kind in ["transit", "pkcs11", "gcpckms"] {
        met(rule, |_, o| o.members[1].seal = Some(kind.to_owned()));
    }
    met(rule, |_, o| o.members[1].seal = None);
    unknown(rule, |o| o.members.iter_mut().for_each(|m| m.seal = None));
}

#[test]
fn a_certificate_that_is_not_trusted_or_not_current_fails_tls() {
    let rule = ReadinessRule::Tls;
    fails(rule, "main-2 shows a certificate", |_, o| {
        o.members[2].untrusted = true;
    });
    let life = |begin, end| Ok(Some(Lifetime { begin, end }));
    fails(rule, "has expired", |_, o| o.certificate = life(NOW - 10, NOW));
    fails(rule, "expires soon", |_, o| {
        o.certificate = life(NOW - 91 * DAY, NOW + 9 * DAY);
    });
    met(rule, |_, o| o.certificate = life(NOW - 90 * DAY, NOW + 10 * DAY));
    met(rule, |_, o| o.certificate = Ok(None));
    fails(rule, "spec.seal.transit.address", |w, _| {
        w.plain = vec!["spec.seal.transit.address"];
    });
    met(rule, |_, o| o.members[2].answers = false);
    unknown(rule, |o| o.members.iter_mut().for_each(|m| m.answers = false));
    unknown(rule, |o| o.certificate = Err("denied".to_owned()));
}

#[test]
fn fewer_than_three_members_that_serve_and_vote_fail_high_availability() {
    let rule = ReadinessRule::HighAvailability;
    fails(rule, "spec.replicas is 1", |w, _| w.replicas = 1);
    fails(rule, "in the memory of one member", |w, _| {
        w.storage = Keeps::Memory;
    });
    fails(rule, "2 members have a vote", |_, o| o.voters = Ok(2));
    fails(rule, "4 members have a vote in Raft, an even number", |_, o| {
        o.voters = Ok(4);
    });
    met(rule, |_, o| o.voters = Ok(5));
    fails(rule, "main-2 is Sealed", |_, o| {
        (o.members[2].serves, o.members[2].state) = (false, "Sealed");
    });
    met(rule, |w, o| {
        w.storage = Keeps::Consul;
        o.voters = Err("there are none".to_owned());
    });
    unknown(rule, |o| o.voters = Err("no answer".to_owned()));
}

#[test]
fn too_few_audit_devices_or_one_in_clear_fail_audit() {
    let rule = ReadinessRule::Audit;
    fails(rule, "1 of 2 audit devices", |_, o| {
        o.audit = Ok(vec![device("stdout")]);
    });
    met(rule, |w, o| {
        w.hardened = false;
        o.audit = Ok(vec![device("stdout")]);
    });
    fails(rule, "0 of 1 audit devices", |w, o| {
        w.hardened = false;
        o.audit = Ok(Vec::new());
    });
    let with = |change: fn(&mut Device)| {
        let mut devices = vec![device("stdout"), device("siem")];
        change(&mut devices[1]);
        Ok(devices)
    };
    fails(rule, "1 of 2 audit devices", |_, o| {
        o.audit = with(|d| d.discards = true);
    });
    fails(rule, "siem writes secrets in clear", |_, o| {
        o.audit = with(|d| d.raw = true);
    });
    unknown(rule, |o| o.audit = Err("denied".to_owned()));
    let on_volume = |path: &str| Device {
        on_volume: true,
        ..device(path)
    };
    fails(rule, "1 of 2 audit devices", |_, o| {
        o.audit = Ok(vec![on_volume("a"), on_volume("b")]);
    });
    met(rule, |_, o| {
        o.audit = Ok(vec![on_volume("a"), device("stdout")]);
    });
}

#[test]
fn a_network_policy_that_is_gone_or_edited_fails_network_isolation() {
    let rule = ReadinessRule::NetworkIsolation;
    for (found, words) in [
        (Network::Off, "set spec.networkPolicy.enabled to true"),
        (Network::Absent, "deleted the NetworkPolicy"),
        (Network::Changed, "changed the NetworkPolicy"),
        (Network::Open, "lets every address in"),
    ] {
        fails(rule, words, |_, o| o.network = Ok(found));
    }
    unknown(rule, |o| o.network = Err("no answer".to_owned()));
}

#[test]
fn without_backups_the_rule_says_what_to_do_instead() {
    let with = |backups| {
        let observed = Observations { backups, ..good() };
        of(&wish(), &observed, ReadinessRule::Backups)
    };
    let verdict = with(Standing::Off);
    assert!(
        matches!(&verdict, Verdict::Failed(text) if text.contains("spec.backup") && text.contains("waive")),
        "{verdict:?}"
    );
    let verdict = with(Standing::Bad {
        reason: "BackupOverdue",
        message: "since Monday".to_owned(),
    });
    assert!(
        matches!(&verdict, Verdict::Failed(text) if text.contains("BackupOverdue: since Monday")),
        "{verdict:?}"
    );
}

#[test]
fn a_policy_that_is_gone_or_allows_everything_fails_least_privilege() {
    let rule = ReadinessRule::LeastPrivilege;
    let with = |change: fn(&mut Policies)| {
        let mut policies = Policies::default();
        change(&mut policies);
        Ok(policies)
    };
    fails(rule, "not as declared: app", |_, o| {
        o.policies = with(|p| p.differ = vec!["app".to_owned()]);
    });
    fails(rule, "allow everything: a, b, c and 2 more", |_, o| {
        o.policies = with(|p| p.wide = ["a", "b", "c", "d", "e"].map(str::to_owned).into());
    });
    fails(rule, "has the policy root", |_, o| {
        o.policies = with(|p| p.own_login_is_root = true);
    });
    unknown(rule, |o| o.policies = with(|p| p.left = 1));
    unknown(rule, |o| o.policies = Err("denied".to_owned()));
}

#[test]
fn no_rule_for_a_second_factor_or_one_for_nobody_fails_mfa() {
    let rule = ReadinessRule::Mfa;
    fails(rule, "no login asks for a second factor", |_, o| {
        o.mfa = Ok(Enforcements::default());
    });
    fails(rule, "concern no login: people", |_, o| {
        o.mfa = Ok(Enforcements {
            effective: Vec::new(),
            idle: vec!["people".to_owned()],
        });
    });
    unknown(rule, |o| o.mfa = Err("denied".to_owned()));
}

#[test]
fn an_old_key_or_a_secret_id_without_an_end_fails_rotation() {
    let rule = ReadinessRule::Rotation;
    fails(rule, "older than 90 days", |_, o| {
        o.key_made = Ok(NOW - KEY_AGE - 1);
    });
    fails(rule, "never expire: shop.app", |_, o| {
        o.app_roles = Ok(AppRoles {
            endless: vec!["shop.app".to_owned()],
            left: 3,
        });
    });
    unknown(rule, |o| {
        o.app_roles = Ok(AppRoles {
            endless: Vec::new(),
            left: 1,
        });
    });
    unknown(rule, |o| o.key_made = Err("denied".to_owned()));
    unknown(rule, |o| o.app_roles = Err("denied".to_owned()));
}
