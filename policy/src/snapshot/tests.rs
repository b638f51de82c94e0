//! What was written is read again and nothing else, and what may take whose place.

mod chunks;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::controls::glob::Glob;
use crate::demands::Demands;
use crate::document::{BuiltIn, Directory, Moment, Sources};
use crate::facts::Facts;

const NAMESPACES: [&str; 4] = ["pay", "pay-eu", "shop", "kube-system"];

fn sources(files: &[(&str, &str)]) -> Sources {
    let file = |(name, text): &(&str, &str)| ((*name).to_owned(), text.as_bytes().to_vec());
    Sources {
        directory: "/etc/coaming/policy.d".into(),
        files: files.iter().map(file).collect(),
        ..Sources::default()
    }
}

fn written(sources: &Sources) -> (Directory, Root, Vec<u8>) {
    let directory = sources.replay().unwrap();
    let (root, bytes) = encode(&directory, sources).unwrap();
    (directory, root, bytes)
}

fn container(namespace: Option<&str>, other: Option<&str>, pod: &str, kind: &str) -> Facts {
    let mut annotations = json!({
        "io.kubernetes.cri.container-type": kind,
        "io.kubernetes.cri.sandbox-name": pod,
        "io.kubernetes.cri.sandbox-uid": pod,
        "io.kubernetes.cri.image-name": "reg/app:1",
    });
    if let Some(namespace) = namespace {
        annotations["io.kubernetes.cri.sandbox-namespace"] = json!(namespace);
    }
    if let Some(other) = other {
        annotations["io.kubernetes.pod.namespace"] = json!(other);
    }
    Facts::of("c", &json!({"annotations": annotations}))
}

const NOW: Moment = Moment(1_806_451_200);

fn by_directory(directory: &Directory, facts: &Facts, which: BuiltIn) -> Demands {
    Demands::upon(facts, directory, (which.name(), builtin::floor(which).unwrap()), NOW)
}

fn by_snapshot(
    snapshot: &Snapshot<Vec<u8>>,
    facts: &Facts,
    which: BuiltIn,
) -> Result<Demands, SnapshotError> {
    let (selection, beneath) = snapshot.select(facts, which)?;
    Ok(Demands::of(facts, selection, (which.name(), beneath), NOW))
}

fn any_selector() -> impl Strategy<Value = String> {
    let namespaces = prop_oneof![
        Just("pay"),
        Just("pay-*"),
        Just("*"),
        Just("shop"),
        Just("*-system"),
        Just("p*-e*"),
    ];
    let list = proptest::collection::vec(namespaces, 0..3)
        .prop_map(|globs| format!("namespaces: ['{}']", globs.join("', '")).replace("['']", "[]"));
    let pods = prop_oneof![
        Just("pods: [ledger]"),
        Just("images: ['reg/*']"),
        Just("pods: []"),
        Just("exceptNamespaces: [shop]"),
        Just("userNamespace: false"),
        Just("doors: [create, exec]"),
        Just("labels: {app: [web]}"),
        Just("expression: \"pod == 'ledger'\""),
        // Without a value for every container that has no such annotation.
        Just("expression: \"annotations['team'] == 'pay'\""),
    ];
    let types = prop_oneof![Just(""), Just("containerTypes: [sandbox, container]")];
    (proptest::option::of(list), proptest::option::of(pods), types).prop_map(
        |(namespaces, pods, types)| {
            let parts = [
                namespaces.unwrap_or_default(),
                pods.unwrap_or_default().to_owned(),
                types.to_owned(),
            ];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
        },
    )
}

fn any_policy() -> impl Strategy<Value = String> {
    let rules = prop_oneof![
        Just("noNewPrivileges: true"),
        Just(
            "readOnlyRootFilesystem: true\n  audit: [readOnlyRootFilesystem]\n  capabilities: {allow: [KILL]}"
        ),
        Just("landlock: {read: [/usr]}\n  rollout: {percentage: 50}"),
        Just("mode: audit\n  seccomp: {denySyscalls: [keyctl]}\n  maskedPaths: [/proc/version]"),
        Just("actions: {default: refuse}\n  user: {runAsNonRoot: true}\n  bestEffort: [landlock]"),
        Just("include: [pss/restricted, default]\n  mode: audit"),
        Just("include: [cis]\n  rlimits: {RLIMIT_CORE: 0}"),
        Just("refuse: [{if: \"spec.hostname == 'a'\", because: b}]"),
    ];
    (any_selector(), rules)
        .prop_map(|(selector, rules)| format!("  match: {{{selector}}}\n  {rules}\n"))
}

fn any_waiver() -> impl Strategy<Value = String> {
    let namespaces = prop_oneof![Just("pay"), Just("pay-*"), Just("shop")];
    let ends = prop_oneof![
        Just("expires: 2027-03-31"),
        Just("expires: 2020-03-31"),
        Just("starts: 2027-03-30T00:00:00Z\n  duration: 12days"),
    ];
    let policies = prop_oneof![Just(""), Just("policies: [p0, baseline]\n  ")];
    let further = prop_oneof![Just(""), Just(", expression: \"annotations['team'] == 'pay'\"")];
    (namespaces, ends, policies, further).prop_map(|(namespace, end, policies, further)| {
        format!(
            "  match: {{namespaces: ['{namespace}']{further}}}\n  waives: [noNewPrivileges, landlock, seccomp]\n  \
             owner: o\n  reason: r\n  {policies}{end}\n"
        )
    })
}

fn any_set() -> impl Strategy<Value = Sources> {
    let policies = proptest::collection::vec(any_policy(), 0..6);
    let waivers = proptest::collection::vec(any_waiver(), 0..3);
    (policies, waivers).prop_map(|(policies, waivers)| {
        let document = |kind: &str, name: String, spec: &str| {
            let text = format!(
                "apiVersion: coaming.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{spec}"
            );
            (format!("{name}.yaml"), text)
        };
        let policies = policies.iter().enumerate().map(|(at, spec)| document("Policy", format!("p{at}"), spec));
        let waivers = waivers.iter().enumerate().map(|(at, spec)| document("Waiver", format!("w{at}"), spec));
        let files: Vec<(String, String)> = policies.chain(waivers).collect();
        let files: Vec<(&str, &str)> =
            files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        sources(&files)
    })
}

fn any_container() -> impl Strategy<Value = Facts> {
    let namespace = || proptest::option::of(proptest::sample::select(NAMESPACES.to_vec()));
    let pod = prop_oneof![Just("ledger"), Just("web")];
    let kind = prop_oneof![Just("container"), Just("sandbox")];
    (namespace(), namespace(), pod, kind)
        .prop_map(|(namespace, other, pod, kind)| container(namespace, other, pod, kind))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// The law: a start that reads the snapshot is held to what one that reads the files is held to.
    #[test]
    fn a_snapshot_demands_what_its_directory_demands(
        set in any_set(),
        containers in proptest::collection::vec(any_container(), 1..6),
    ) {
        let (directory, root, bytes) = written(&set);
        let snapshot = Snapshot::open(bytes, root).unwrap();
        for facts in containers {
            for which in [BuiltIn::Baseline, BuiltIn::Node] {
                let expected = by_directory(&directory, &facts, which);
                prop_assert_eq!(by_snapshot(&snapshot, &facts, which).unwrap(), expected);
            }
        }
        prop_assert_eq!(snapshot.sources().unwrap(), set);
    }

    #[test]
    fn a_changed_byte_or_a_missing_end_is_noticed(set in any_set(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (directory, root, bytes) = written(&set);
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= 1 << bit;
        let mut short = bytes.clone();
        short.truncate(at.index(bytes.len()));
        for bytes in [changed, short] {
            let facts = container(Some("pay"), None, "ledger", "container");
            let read = Snapshot::open(bytes, root).and_then(|snapshot| {
                let demands = by_snapshot(&snapshot, &facts, BuiltIn::Baseline)?;
                Ok((demands, snapshot.sources()))
            });
            // What a container does not need may be damaged; what it needs is right, or nothing is given.
            if let Ok((demands, sources)) = read {
                prop_assert_eq!(demands, by_directory(&directory, &facts, BuiltIn::Baseline));
                prop_assert!(sources.is_err() || sources.unwrap() == set);
            }
        }
    }

    /// Whoever could write the file could also give it its name.
    #[test]
    fn what_was_never_written_is_refused_and_nothing_worse(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut whole = b"COAMING\x01".to_vec();
        whole.extend((bytes.len() as u64).to_le_bytes());
        whole.extend([0; 16 + 32]);
        whole.extend(bytes);
        let root = Root(sha256(&whole));
        if let Ok(snapshot) = Snapshot::open(whole, root) {
            let facts = container(Some("pay"), None, "ledger", "container");
            prop_assert!(snapshot.select(&facts, BuiltIn::Baseline).is_err());
            prop_assert!(snapshot.sources().is_err());
        }
    }
}

#[test]
fn it_says_what_must_be_known_of_a_request() {
    for (selector, door, labels) in [
        ("doors: [exec]", true, false),
        ("labels: {tier: [locked]}", false, true),
        ("expression: \"door == 'exec' && labels.tier == 'locked'\"", true, true),
        ("namespaces: [pay]", false, false),
    ] {
        let text = format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  \
             match: {{{selector}}}\n  noNewPrivileges: true\n"
        );
        let (directory, root, bytes) = written(&sources(&[("p.yaml", &text)]));
        let snapshot = Snapshot::open(bytes, root).unwrap();
        assert_eq!(snapshot.tells_doors_apart().unwrap(), door, "{selector}");
        assert_eq!(snapshot.goes_by_labels().unwrap(), labels, "{selector}");
        assert_eq!((directory.tells_doors_apart(), directory.goes_by_labels()), (door, labels));
    }
}

#[test]
fn every_byte_that_a_start_reads_counts() {
    let (directory, root, bytes) = written(&sources(&[("a.yaml", STRICT)]));
    let facts = container(Some("pay"), None, "ledger", "container");
    let expected = by_directory(&directory, &facts, BuiltIn::Node);
    let mut right = 0;
    let index = u64::from_le_bytes(bytes[8..16].try_into().unwrap()) as usize;
    // All of header and index, and some of the parts.
    for at in (0..64 + index).chain((64 + index..bytes.len()).step_by(199)) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let read = Snapshot::open(changed, root)
            .and_then(|snapshot| by_snapshot(&snapshot, &facts, BuiltIn::Node));
        if let Ok(demands) = read {
            assert!(demands == expected && at >= 64 + index, "byte {at}");
            right += 1;
        }
    }
    assert!(right > 0, "what a start does not read may be damaged");
}

#[test]
fn a_snapshot_of_another_build_gives_its_sources_and_nothing_else() {
    let set = sources(&[("a.yaml", STRICT)]);
    let (_, _, bytes) = written(&set);
    let own = build();
    let at = bytes.windows(own.len()).position(|part| part == own.as_bytes()).unwrap();
    let mut other = bytes.clone();
    other[at] = b'9';
    let index = u64::from_le_bytes(other[8..16].try_into().unwrap()) as usize;
    let root = Root(sha256(&other[..64 + index]));
    let snapshot = Snapshot::open(other, root).unwrap();
    let facts = container(Some("pay"), None, "ledger", "container");
    let refused = snapshot.select(&facts, BuiltIn::Baseline).unwrap_err();
    assert!(matches!(refused, SnapshotError::OtherBuild(_)), "{refused}");
    assert!(snapshot.check_build().is_err());
    assert_eq!(snapshot.sources().unwrap(), set);
}

const STRICT: &str = include_str!("fixtures/strict.yaml");
const LOOSE: &str = include_str!("fixtures/loose.yaml");
const STRICT_SUMS: &str = include_str!("fixtures/strict.sums");
const LOOSE_SUMS: &str = include_str!("fixtures/loose.sums");

fn keys() -> Keys {
    Keys::parse(&[include_str!("fixtures/a.pub").trim().to_owned()]).unwrap()
}

mod acceptance {
    use coaming_config::{Loosening, Signatures};

    use super::super::acceptance::*;
    use super::*;

    struct Case {
        set: Sources,
        loosening: Loosening,
        signatures: Signatures,
        latest_signature: Option<u64>,
        commanded: bool,
    }

    fn case(policy: &str, sums: Option<&str>, signature: Option<&str>) -> Case {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let set = Sources {
            manifest: sums.map(bytes),
            signature: signature.map(bytes),
            ..sources(&[("a.yaml", policy)])
        };
        Case {
            set,
            loosening: Loosening::Explicit,
            signatures: Signatures::Off,
            latest_signature: None,
            commanded: false,
        }
    }

    impl Case {
        /// What is said of it where the strict set is in force.
        fn judged(&self) -> Verdict {
            let strict = sources(&[("a.yaml", STRICT)]);
            let in_force = strict.replay().unwrap();
            let in_force = SetInForce { directory: &in_force, digest: strict.digest() };
            self.judged_beside(Some(&in_force))
        }

        fn judged_beside(&self, in_force: Option<&SetInForce<'_>>) -> Verdict {
            let directory = self.set.replay().unwrap();
            let offer = Offer {
                sources: &self.set,
                directory: &directory,
                loosening: self.loosening,
                signatures: self.signatures,
                keys: &keys(),
                latest_signature: self.latest_signature,
                commanded: self.commanded,
            };
            judge(&offer, in_force)
        }

        #[track_caller]
        fn is_refused(&self, kind: Kept, words: &str) {
            match self.judged() {
                Verdict::Refused(refusal) => {
                    assert!(refusal.kind == kind && refusal.why.contains(words), "{refusal:?}");
                }
                accepted => panic!("{accepted:?}"),
            }
        }

        #[track_caller]
        fn is_accepted(&self) -> (Option<u64>, bool) {
            match self.judged() {
                Verdict::Accepted { signed, looser } => {
                    (signed.map(|signed| signed.timestamp), !looser.is_empty())
                }
                refused => panic!("{refused:?}"),
            }
        }
    }

    const GOOD: &str = include_str!("fixtures/loose.2000.minisig");
    const STRICT_GOOD: &str = include_str!("fixtures/strict.1000.minisig");

    #[test]
    fn what_loosens_needs_a_word_or_a_signature() {
        case(LOOSE, None, None).is_refused(Kept::Loosens, "--loosen");
        let with = |loosening, commanded, signed: bool| {
            let (sums, signature) =
                if signed { (Some(LOOSE_SUMS), Some(GOOD)) } else { (None, None) };
            Case { loosening, commanded, ..case(LOOSE, sums, signature) }
        };
        assert_eq!(with(Loosening::Explicit, true, false).is_accepted(), (None, true));
        assert_eq!(with(Loosening::Explicit, false, true).is_accepted(), (Some(2000), true));
        assert_eq!(with(Loosening::Free, false, false).is_accepted(), (None, true));
        assert_eq!(with(Loosening::Signed, false, true).is_accepted(), (Some(2000), true));
        with(Loosening::Signed, true, false).is_refused(Kept::Loosens, "only a signed set");
        with(Loosening::Signed, true, false).is_refused(Kept::Loosens, "no signature");
    }

    #[test]
    fn what_tightens_or_is_the_first_needs_nothing() {
        assert_eq!(case(STRICT, None, None).is_accepted(), (None, false));
        let more = format!("{STRICT}---\n{}", STRICT.replace("held", "more"));
        assert_eq!(case(&more, None, None).is_accepted(), (None, false));
        assert!(matches!(
            case(LOOSE, None, None).judged_beside(None),
            Verdict::Accepted { signed: None, .. }
        ));
    }

    #[test]
    fn a_forged_signature_lets_nothing_loosen() {
        for (sums, signature, words) in [
            (LOOSE_SUMS, include_str!("fixtures/loose.other.minisig"), "no key under trusted_keys"),
            (LOOSE_SUMS, include_str!("fixtures/loose.timeless.minisig"), "timestamp"),
            (LOOSE_SUMS, STRICT_GOOD, "no key under trusted_keys"),
            (LOOSE_SUMS, "nothing", "not one of minisign's"),
            (LOOSE_SUMS, &GOOD.replace("timestamp:2000", "timestamp:9000"), "no key under"),
        ] {
            let forged = case(LOOSE, Some(sums), Some(signature));
            forged.is_refused(Kept::Loosens, words);
            Case { loosening: Loosening::Signed, ..forged }.is_refused(Kept::Loosens, words);
        }
        // A good signature of another content: the manifest does not fit.
        case(LOOSE, Some(STRICT_SUMS), Some(STRICT_GOOD)).is_refused(Kept::Broken, "a.yaml");
        Case { loosening: Loosening::Free, ..case(LOOSE, Some(STRICT_SUMS), None) }
            .is_refused(Kept::Broken, "SHA256SUMS");
    }

    #[test]
    fn an_older_set_is_not_taken_back() {
        let older = case(LOOSE, Some(LOOSE_SUMS), Some(include_str!("fixtures/loose.500.minisig")));
        assert_eq!(older.is_accepted(), (Some(500), true));
        let older = Case { latest_signature: Some(1000), ..older };
        older.is_refused(Kept::Loosens, "1970-01-01T00:08:20Z");
        Case { signatures: Signatures::Required, ..older }.is_refused(Kept::Signature, "older");
        let same =
            Case { latest_signature: Some(2000), ..case(LOOSE, Some(LOOSE_SUMS), Some(GOOD)) };
        assert_eq!(same.is_accepted(), (Some(2000), true));
    }

    #[test]
    fn where_signatures_are_required_nothing_unsigned_is_taken() {
        let required = |case| Case { signatures: Signatures::Required, commanded: true, ..case };
        required(case(STRICT, None, None)).is_refused(Kept::Signature, "no signature");
        required(case(STRICT, Some(STRICT_SUMS), None)).is_refused(Kept::Signature, "no signature");
        required(case(STRICT, Some(STRICT_SUMS), Some(GOOD))).is_refused(Kept::Signature, "no key");
        let first = required(case(LOOSE, None, None)).judged_beside(None);
        assert!(matches!(first, Verdict::Refused(Refusal { kind: Kept::Signature, .. })));
        let good = required(case(STRICT, Some(STRICT_SUMS), Some(STRICT_GOOD)));
        assert_eq!(good.is_accepted(), (Some(1000), false));
    }
}

mod in_an_emergency {
    use super::super::break_glass::*;
    use super::*;

    const WAIVER: &str = include_str!("fixtures/break-glass.yaml");
    const SIGNATURE: &str = include_str!("fixtures/break-glass.minisig");
    /// When it was signed: 2027-03-31, midnight.
    const SIGNED: u64 = 1_806_451_200;
    const HOUR: u64 = 3600;

    fn answer(text: &str, signature: Option<&str>, hours: u64, now: u64) -> Result<(), String> {
        let signature = signature.map(str::as_bytes);
        let read =
            break_glass("fire.yaml", text.as_bytes(), signature, &keys(), hours, Moment(now));
        let waivers = read.map_err(|error| error.to_string())?;
        assert_eq!(waivers.len(), 1);
        for (_, granted) in waivers {
            let granted = granted.map_err(|error| error.to_string())?;
            assert_eq!(granted.break_glass.unwrap(), include_str!("fixtures/a.pub").trim());
        }
        Ok(())
    }

    #[test]
    fn a_signed_waiver_for_one_pod_serves_for_some_hours() {
        assert_eq!(answer(WAIVER, Some(SIGNATURE), 24, SIGNED), Ok(()));
        assert_eq!(answer(WAIVER, Some(SIGNATURE), 12, SIGNED + 12 * HOUR - 1), Ok(()));
        assert_eq!(answer(WAIVER, Some(SIGNATURE), 24, SIGNED - 60), Ok(()), "clocks differ");
        let foreign = include_str!("fixtures/break-glass.other.minisig");
        for (text, signature, hours, now, words) in [
            (WAIVER, None, 24, SIGNED, "no signature"),
            (WAIVER, Some(foreign), 24, SIGNED, "no key under trusted_keys"),
            (&WAIVER.replace("ledger-0", "ledger-1"), Some(SIGNATURE), 24, SIGNED, "no key under"),
            (WAIVER, Some(SIGNATURE), 24, SIGNED + 12 * HOUR, "ended at 2027-03-31T12:00:00Z"),
            (WAIVER, Some(SIGNATURE), 11, SIGNED, "more than 11 hours"),
            (WAIVER, Some(SIGNATURE), 24, SIGNED - HOUR, "after this node's time"),
            (STRICT, Some(SIGNATURE), 24, SIGNED, "only waivers"),
            // The time that counts where none can be kept.
            (WAIVER, Some(SIGNATURE), 24, u64::MAX, "ended"),
        ] {
            let error = answer(text, signature, hours, now).unwrap_err();
            assert!(error.contains(words), "{words}: {error}");
        }
    }

    #[test]
    fn no_more_than_one_pod_is_freed() {
        let narrow = |globs: &str| -> crate::document::Match {
            serde_json::from_value(json!({"namespaces": ["pay"], "pods": [globs]})).unwrap()
        };
        assert!(narrow("ledger-0").pods.unwrap().first().is_some_and(Glob::is_literal));
        for selector in [
            "namespaces: [pay]",
            "namespaces: [pay], pods: ['ledger-*']",
            "namespaces: [pay], pods: [a, b]",
            "namespaces: [pay, shop], pods: [a]",
            "namespaces: ['pay*'], pods: [a]",
        ] {
            let text = WAIVER.replace("namespaces: [pay], pods: [ledger-0]", selector);
            let waiver = match crate::document::parse_documents("w.yaml", &text).unwrap().remove(0)
            {
                crate::document::Document::Waiver(waiver) => waiver,
                other => panic!("{other:?}"),
            };
            let signed = Signed { key: "k".to_owned(), timestamp: SIGNED };
            let error = check(&waiver, &signed, 24, Moment(SIGNED)).unwrap_err().to_string();
            assert!(error.contains("must name exactly one"), "{selector}: {error}");
        }
    }
}
