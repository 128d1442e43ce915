use super::super::validate::{tests::cluster, validate};
use super::*;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn after_days(days: i64) -> Timestamp {
    Timestamp::from_second(NOW.as_second() + days * 86_400).unwrap()
}

fn authority() -> Authority {
    Authority {
        current: tls::new_ca("vault", "main", NOW).unwrap(),
        next: None,
        previous: None,
        since: None,
    }
}

fn is_kept(made_for: &str, wanted: &str, now: Timestamp) -> bool {
    let authority = authority();
    let made_for = validate(&cluster(made_for)).unwrap();
    let leaf = tls::new_leaf(&authority.current, &made_for, NOW).unwrap();
    usable(&leaf, &validate(&cluster(wanted)).unwrap(), &authority, now).is_some()
}

#[test]
fn a_name_that_looks_like_an_address_does_not_make_a_new_certificate_each_time() {
    let odd = "  tls: {managed: {extraDnsNames: [10.0.0.1]}}";
    assert!(is_kept(odd, odd, NOW), "the certificate just made should be kept");
}

#[test]
fn a_certificate_is_kept_for_two_thirds_of_its_life_and_while_it_is_what_is_wanted() {
    assert!(is_kept("", "", NOW) && is_kept("", "", after_days(59)));
    assert!(!is_kept("", "", after_days(61)), "two thirds of 90 days are over");
    let wider = "  tls: {managed: {extraDnsNames: [vault.example.test]}}";
    assert!(
        !is_kept("", wider, NOW) && !is_kept(wider, "", NOW),
        "other names"
    );
    assert!(is_kept("", "  replicas: 5", NOW), "members share a name");
    let shorter = "  tls: {managed: {certificateLifetime: 24h}}";
    assert!(!is_kept("", shorter, NOW), "it would live longer than is wanted");
    assert!(is_kept(shorter, shorter, NOW));
}

#[test]
fn a_certificate_of_another_ca_or_with_another_key_is_not_kept() {
    let v = validate(&cluster("")).unwrap();
    let (ours, theirs) = (authority(), authority());
    let leaf = tls::new_leaf(&ours.current, &v, NOW).unwrap();
    assert!(usable(&leaf, &v, &ours, NOW).is_some());
    assert!(usable(&leaf, &v, &theirs, NOW).is_none(), "of another CA");
    let other = tls::new_leaf(&ours.current, &v, NOW).unwrap();
    let mixed = Issued {
        certificate: leaf.certificate,
        key: other.key,
    };
    assert!(usable(&mixed, &v, &ours, NOW).is_none(), "with another key");
}

fn secret(data: &[(&str, &str)]) -> Secret {
    Secret {
        data: Some(data.iter().map(|(k, v)| ((*k).to_owned(), bytes(v))).collect()),
        ..Secret::default()
    }
}

#[test]
fn everything_in_the_ca_secret_that_is_to_be_trusted_is_in_the_bundle() {
    let of = |data: &[(&str, &str)]| bundle(&secret(data));
    assert_eq!(of(&[]), None);
    assert_eq!(
        of(&[("ca.crt", "A"), ("ca.key", "k")]).as_deref(),
        Some("A"),
        "one, as it is"
    );
    let rolling = [("ca.crt", "A\n"), ("next.crt", "B\n"), ("next.key", "k")];
    assert_eq!(of(&rolling).as_deref(), Some("A\nB\n"));
    assert_eq!(
        of(&[("ca.crt", "B"), ("previous.crt", "A")]).as_deref(),
        Some("B\nA\n")
    );
    assert_eq!(
        of(&[("trust.crt", "X"), ("ca.crt", "A")]).as_deref(),
        Some("X"),
        "from elsewhere"
    );
    assert_eq!(
        of(&[("trust.crt", "Y"), ("former.crt", "X")]).as_deref(),
        Some("Y\nX\n")
    );
}

#[test]
fn the_former_cas_of_two_replacements_in_a_row_are_all_kept() {
    assert_eq!(former("A\n", None), "A\n");
    assert_eq!(
        former("B\n", Some("A\n")),
        "B\nA\n",
        "a member may show one of A still"
    );
    assert_eq!(former("A", Some("B\nA\n")), "B\nA\n", "each once");
    let many = "A".repeat(MOST_FORMER);
    assert_eq!(former("B", Some(&many)), "B", "but not without end");
}

#[test]
fn a_replacement_under_way_is_read_back_as_it_was_written() {
    let mut rolling = secret(&[
        ("ca.crt", "A"),
        ("ca.key", "a"),
        ("next.crt", "B"),
        ("next.key", "b"),
    ]);
    rolling.metadata.annotations = Some(BTreeMap::from([(
        annotations::CA_STEP_SINCE.to_owned(),
        "2027-01-15T08:00:00Z".to_owned(),
    )]));
    let read = stored(&rolling).unwrap().authority;
    assert_eq!(read.phase(), rollover::Phase::Distributing);
    assert_eq!(read.since, Some(NOW));
    assert_eq!(
        read.bundle(),
        bundle(&rolling).unwrap(),
        "clients and members get the same"
    );
    let broken = secret(&[("ca.crt", "A"), ("ca.key", "a"), ("next.crt", "B")]);
    assert!(
        matches!(stored(&broken), Err(Error::Incomplete { key: "next.key", .. })),
        "a CA that could never sign"
    );
}
