//! Why a member does not run, from what the kubelet and the scheduler say. Pure.
//!
//! A server whose seal is away exits. All that tells why are its last words, which the kubelet keeps in the pod's
//! status; the operator calls no address of the spec, let alone with a credential.

use super::build::volume_claim_of;
use super::validate::AutoSeal;
use crate::members::{Member, Probe, Stopped};

/// How much of an error is shown.
const LONGEST: usize = 300;
/// What a server says before the error of its seal.
const SEAL_ERRORS: [&str; 2] = [
    "error parsing Seal configuration:",
    "Error parsing Seal configuration:",
];
/// Errors of a network on which nobody answers.
const AWAY: [&str; 10] = [
    "connection refused",
    "no such host",
    "i/o timeout",
    "deadline exceeded",
    "Client.Timeout",
    "no route to host",
    "network is unreachable",
    "connection reset",
    "Vault is sealed",
    "EOF",
];
/// Errors of a service that does not take the credential.
const REFUSED: [&str; 6] = [
    "permission denied",
    "Code: 403",
    "AccessDenied",
    "PermissionDenied",
    "UnrecognizedClient",
    "invalid token",
];

/// The label of a namespace that says which Pod Security it enforces.
pub(crate) const ENFORCED: &str = "pod-security.kubernetes.io/enforce";

/// How the scheduler calls the rules of `spec.pod.spread`.
const SPREAD: &str = "topology spread constraints";

/// Why a member does not serve, for its row and for the conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    /// Reason of the condition.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// Explains a member that does not run, or cannot come back as it is. Nothing for another one that answers.
pub(crate) fn explain(seal: Option<&AutoSeal>, member: &Member) -> Option<Outage> {
    if member.probe == Probe::Removed {
        return Some(removed(member));
    }
    if !matches!(member.probe, Probe::Pending | Probe::Unreachable(_)) {
        return None;
    }
    match &member.stopped {
        Some(stopped) => of_seal(seal, stopped).or_else(|| of_container(stopped)),
        None => of_placement(member),
    }
}

/// Raft does not let it in again with the data that it has, which the others have as well.
fn removed(member: &Member) -> Outage {
    let claim = volume_claim_of(&member.name);
    Outage {
        reason: "RemovedFromRaft",
        message: format!(
            "somebody took it out of Raft, and it cannot come back with its data. While another member is active, its copy is not needed: kubectl delete pvc/{claim} pod/{} in its namespace, and it joins anew with an empty volume",
            member.name
        ),
    }
}

/// A pod whose place breaks the rules of today, for which no other place is left: it would wait for ever. That happens
/// when the rules became stricter after it was placed, or when a node came that can take no member.
fn of_placement(member: &Member) -> Option<Outage> {
    let words = member.obstacle.as_deref()?;
    (member.probe == Probe::Pending && words.contains(SPREAD)).then(|| Outage {
        reason: "SpreadUnmet",
        message: "no node that its volume allows keeps the members spread as spec.pod.spread requires. Either \
                  make room on a node with fewer members, or cordon the nodes that are to take none (kubectl cordon), \
                  or set spec.pod.spread.hosts and zones to Preferred, and its pod is made anew"
            .to_owned(),
    })
}

/// Levels of Pod Security that take no pod with a path of the host.
const WITHOUT_HOST_PATHS: [&str; 2] = ["baseline", "restricted"];

/// Why no pod comes, where the Pod Security that its namespace enforces refuses the socket of the host.
pub(crate) fn refused_pod(socket: Option<&str>, enforced: Option<&str>) -> Option<String> {
    let level = enforced.filter(|level| WITHOUT_HOST_PATHS.contains(level))?;
    let socket = socket?;
    Some(format!(
        "there is no pod: Pod Security {level}, which its namespace enforces, refuses one with {socket} of the host. Set the namespace's label {ENFORCED} to privileged, or remove spec.pod.syslogSocket"
    ))
}

fn of_seal(seal: Option<&AutoSeal>, stopped: &Stopped) -> Option<Outage> {
    let by = seal?;
    let words = stopped.last_words.as_deref()?;
    let error = SEAL_ERRORS
        .iter()
        .find_map(|marker| words.split_once(marker))
        .map(|(_, rest)| first_error(rest))?;
    let has = |signs: &[&str]| signs.iter().any(|sign| error.contains(sign));
    let what = by.describe();
    let (reason, verdict, remedy) = if has(&["x509:", "certificate"]) {
        (
            "SealUntrusted",
            "shows a certificate that is not trusted",
            "correct the CA or the server name in spec.seal",
        )
    } else if has(&REFUSED) {
        (
            "SealRefused",
            "refuses the credential of this cluster",
            "renew it in its Secret",
        )
    } else if has(&AWAY) {
        (
            "SealUnreachable",
            "cannot be reached",
            "bring it back; members that run go on serving meanwhile, but must not restart",
        )
    } else {
        ("SealFailed", "does not work", "correct spec.seal")
    };
    Some(Outage {
        reason,
        message: format!("{what} {verdict}, and without it the server exits: {remedy}. It said: {error}"),
    })
}

/// The error at the beginning of a text, on one line, without the log that follows it.
fn first_error(text: &str) -> String {
    let lines = text.lines().take_while(|line| !is_log_line(line));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    let error = words.join(" ");
    match error.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", error.get(..end).unwrap_or_default()),
        None => error,
    }
}

/// `2026-11-22T07:43:39.943Z [INFO]  …`
fn is_log_line(line: &str) -> bool {
    line.starts_with(|c: char| c.is_ascii_digit()) && line.contains(" [")
}

fn of_container(stopped: &Stopped) -> Option<Outage> {
    let Stopped {
        waiting,
        detail,
        exit_code,
        last_words: _,
    } = stopped;
    match (waiting.as_deref(), exit_code) {
        // Usual on the way up, and a container that runs.
        (None | Some("ContainerCreating" | "PodInitializing"), None) => None,
        (Some("CrashLoopBackOff") | None, Some(code)) => Some(Outage {
            reason: "ServerExits",
            message: format!("the server exits with code {code}: see its log, kubectl logs --previous"),
        }),
        (Some(reason), _) => Some(Outage {
            reason: "ContainerWaits",
            message: match detail {
                Some(detail) => format!("its container waits ({reason}): {detail}"),
                None => format!("its container waits ({reason})"),
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::validate::{tests::cluster, validate};

    fn transit() -> AutoSeal {
        let spec = "  seal: {transit: {address: 'https://kms.test:8200', keyName: k, tokenSecret: {name: n, key: t}}}";
        validate(&cluster(spec)).unwrap().seal.auto().unwrap().clone()
    }

    fn exited(words: &str) -> Member {
        Member {
            stopped: Some(Stopped {
                waiting: Some("CrashLoopBackOff".to_owned()),
                detail: Some("back-off 10s restarting failed container".to_owned()),
                exit_code: Some(1),
                last_words: Some(words.to_owned()),
            }),
            ..Member::default()
        }
    }

    /// What Vault 1.21.1 printed.
    const REFUSED_CONNECTION: &str = "error parsing Seal configuration: Put \"https://127.0.9.9:8200/v1/transit/encrypt/autounseal\": dial tcp 127.0.9.9:8200: connect: connection refused\n2026-11-22T07:44:20.310Z [INFO]  proxy environment: http_proxy=\"\" https_proxy=\"\" no_proxy=\"\"\n";

    #[test]
    fn a_seal_that_is_away_is_named_with_its_address() {
        let outage = explain(Some(&transit()), &exited(REFUSED_CONNECTION)).unwrap();
        assert_eq!(outage.reason, "SealUnreachable");
        assert!(
            outage
                .message
                .starts_with("the transit seal at https://kms.test:8200 cannot be reached"),
            "{}",
            outage.message
        );
        assert!(
            !outage.message.contains("proxy environment"),
            "{}",
            outage.message
        );
    }

    #[test]
    fn a_refused_token_and_an_untrusted_certificate_are_told_apart() {
        let reason = |words: &str| explain(Some(&transit()), &exited(words)).unwrap().reason;
        assert_eq!(
            reason(
                "error parsing Seal configuration: Error making API request.\n\nURL: PUT https://k/v1/transit/encrypt/k\nCode: 403. Errors:\n\n* permission denied\n"
            ),
            "SealRefused"
        );
        assert_eq!(
            reason(
                "error parsing Seal configuration: Put \"https://k\": tls: failed to verify certificate: x509: certificate signed by unknown authority"
            ),
            "SealUntrusted"
        );
        assert_eq!(
            reason("error parsing Seal configuration: mount_path is required"),
            "SealFailed"
        );
    }

    #[test]
    fn a_server_that_exits_for_another_reason_is_not_blamed_on_its_seal() {
        let outage = explain(
            Some(&transit()),
            &exited("Error initializing storage of type raft"),
        )
        .unwrap();
        assert_eq!(outage.reason, "ServerExits");
        assert!(outage.message.contains("code 1"), "{}", outage.message);
        assert!(
            !outage.message.contains("storage of type"),
            "lines of a log are not copied: {}",
            outage.message
        );
    }

    #[test]
    fn a_pod_that_the_spread_keeps_off_every_node_is_told_with_the_ways_out() {
        // In the words of kube-scheduler 1.36.
        let mut member = Member {
            obstacle: Some(
                "Unschedulable: 0/2 nodes are available: 1 Too many pods, 1 node(s) didn't match pod topology spread constraints."
                    .to_owned(),
            ),
            ..Member::default()
        };
        let outage = explain(None, &member).unwrap();
        assert_eq!(outage.reason, "SpreadUnmet");
        for way in [
            "make room",
            "kubectl cordon",
            "spec.pod.spread.hosts",
            "Preferred",
        ] {
            assert!(outage.message.contains(way), "{way}: {}", outage.message);
        }
        member.obstacle = Some("Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.".to_owned());
        assert_eq!(
            explain(None, &member),
            None,
            "the scheduler's own words are enough"
        );
        member.obstacle = None;
        assert_eq!(explain(None, &member), None, "nothing is known");
    }

    #[test]
    fn a_pod_that_pod_security_refuses_for_its_socket_is_told_with_the_ways_out() {
        let words = refused_pod(Some("/dev/log"), Some("restricted")).unwrap();
        for part in [
            "restricted",
            "/dev/log",
            "pod-security.kubernetes.io/enforce",
            "spec.pod.syslogSocket",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert!(refused_pod(Some("/dev/log"), Some("baseline")).is_some());
        assert_eq!(refused_pod(Some("/dev/log"), Some("privileged")), None);
        assert_eq!(refused_pod(Some("/dev/log"), None), None, "nothing is known");
        assert_eq!(
            refused_pod(None, Some("restricted")),
            None,
            "it takes the usual pod"
        );
    }

    #[test]
    fn a_member_that_was_taken_out_is_told_with_the_way_back() {
        let member = Member {
            name: "main-1".to_owned(),
            probe: Probe::Removed,
            ..Member::default()
        };
        let outage = explain(None, &member).unwrap();
        assert_eq!(outage.reason, "RemovedFromRaft");
        assert!(
            outage
                .message
                .contains("kubectl delete pvc/data-main-1 pod/main-1"),
            "{}",
            outage.message
        );
    }

    #[test]
    fn a_missing_secret_is_named_and_a_starting_pod_is_no_outage() {
        let mut member = exited("");
        member.stopped = Some(Stopped {
            waiting: Some("CreateContainerConfigError".to_owned()),
            detail: Some("secret \"unseal\" not found".to_owned()),
            ..Stopped::default()
        });
        let outage = explain(Some(&transit()), &member).unwrap();
        assert!(
            outage.message.contains("secret \"unseal\" not found"),
            "{}",
            outage.message
        );
        member.stopped = Some(Stopped {
            waiting: Some("ContainerCreating".to_owned()),
            ..Stopped::default()
        });
        assert_eq!(explain(None, &member), None);
        member = exited(REFUSED_CONNECTION);
        member.probe = Probe::Active;
        assert_eq!(explain(Some(&transit()), &member), None, "it runs again");
    }
}
