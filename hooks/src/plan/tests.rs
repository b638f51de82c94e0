//! The format's laws: what encodes decodes to itself, what decodes is canonical, nothing else passes.

use proptest::prelude::*;

use super::*;

fn small() -> Plan {
    Plan {
        layers: vec![Layer {
            handled_fs: 0b111,
            handled_net: 0b11,
            scoped: 1,
            paths: vec![PathRule { access: 0b101, path: b"/usr".to_vec() }],
            ports: vec![PortRule { access: 2, port: 443 }],
        }],
        filters: vec![Filter {
            flags: 4,
            instructions: vec![Instruction { code: 6, jt: 1, jf: 2, k: 0x7fff_0000 }],
        }],
        log_denials: false,
    }
}

fn rule(access: u64, path: &[u8]) -> PathRule {
    PathRule { access, path: path.to_vec() }
}

#[test]
fn the_bytes_are_as_documented() {
    let mut expected = b"COAMINIT".to_vec();
    let words = |values: &[u32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    let longs = |values: &[u64]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    expected.extend(words(&[1, 1]));
    expected.extend(longs(&[0b111, 0b11, 1]));
    expected.extend(words(&[1]));
    expected.extend(longs(&[0b101]));
    expected.extend(words(&[4]));
    expected.extend(b"/usr");
    expected.extend(words(&[1]));
    expected.extend(longs(&[2]));
    expected.extend(443_u16.to_le_bytes());
    expected.extend(words(&[1, 4, 1]));
    expected.extend([6, 0, 1, 2]);
    expected.extend(words(&[0x7fff_0000]));
    assert_eq!(small().encode(), Ok(expected));
}

#[test]
fn an_empty_plan_is_a_plan() {
    let plan = Plan::default();
    assert!(plan.is_empty());
    assert_eq!(Plan::decode(&plan.encode().unwrap()), Ok(plan));
    assert!(!small().is_empty());
}

#[test]
fn every_truncation_and_any_tail_is_refused() {
    let bytes = small().encode().unwrap();
    for length in 0..bytes.len() {
        assert!(Plan::decode(&bytes[..length]).is_err(), "{length} bytes of {}", bytes.len());
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(Plan::decode(&longer), Err(PlanError::Trailing(1)));
}

#[test]
fn another_magic_or_version_is_refused() {
    let mut bytes = small().encode().unwrap();
    bytes[0] ^= 1;
    assert_eq!(Plan::decode(&bytes), Err(PlanError::Magic));
    bytes[0] ^= 1;
    bytes[8] = 2;
    // The same, with denials logged.
    assert_eq!(Plan::decode(&bytes), Ok(Plan { log_denials: true, ..small() }));
    for version in [0, 3] {
        bytes[8] = version;
        assert_eq!(Plan::decode(&bytes), Err(PlanError::Version(version.into())));
    }
}

#[test]
fn what_the_kernel_would_refuse_is_refused_both_ways() {
    let with = |change: fn(&mut Plan)| {
        let mut plan = small();
        change(&mut plan);
        plan
    };
    let cases: [(Plan, PlanError); 9] = [
        (
            with(|p| {
                p.layers[0] = Layer::default();
            }),
            PlanError::NothingHandled(0),
        ),
        (with(|p| p.layers[0].paths[0].path = b"usr".to_vec()), PlanError::Path(0)),
        (with(|p| p.layers[0].paths[0].path = Vec::new()), PlanError::Path(0)),
        (with(|p| p.layers[0].paths[0].path = b"/u\0r".to_vec()), PlanError::Path(0)),
        (with(|p| p.layers[0].paths[0].path = vec![b'/'; MAX_PATH + 1]), PlanError::Path(0)),
        (
            with(|p| p.layers[0].paths[0].access = 0b1000),
            PlanError::Access { layer: 0, access: 0b1000, handled: 0b111 },
        ),
        (
            with(|p| p.layers[0].paths[0].access = 0),
            PlanError::Access { layer: 0, access: 0, handled: 0b111 },
        ),
        (
            with(|p| p.layers[0].ports[0].access = 0b100),
            PlanError::Access { layer: 0, access: 0b100, handled: 0b11 },
        ),
        (with(|p| p.filters[0].instructions.clear()), PlanError::EmptyFilter(0)),
    ];
    for (plan, error) in cases {
        assert_eq!(plan.encode(), Err(error.clone()));
        let decoded = Plan::decode(&encode_unchecked(&plan));
        // A path's length is bounded by the format before its content is looked at.
        let long = |e: &PlanError| matches!(e, PlanError::TooMany { what: "bytes in a path", .. });
        assert!(decoded == Err(error) || decoded.as_ref().is_err_and(long), "{decoded:?}");
    }
}

#[test]
fn every_bound_is_reached_and_not_passed() {
    let scope = Layer { scoped: 1, ..Layer::default() };
    let rules = |n| Layer {
        handled_fs: 1,
        handled_net: 1,
        paths: vec![rule(1, b"/"); n - 1],
        ports: vec![PortRule { access: 1, port: 1 }],
        ..Layer::default()
    };
    let filter =
        |n| Filter { flags: 0, instructions: vec![Instruction { code: 6, jt: 0, jf: 0, k: 0 }; n] };
    let plan = |layers, filters| Plan { layers, filters, log_denials: false };
    let fits = [
        plan(vec![scope.clone(); MAX_LAYERS], vec![]),
        plan(vec![rules(MAX_RULES)], vec![]),
        plan(vec![], vec![filter(MAX_INSTRUCTIONS); MAX_FILTERS]),
        plan(
            vec![Layer {
                handled_fs: 1,
                paths: vec![rule(1, &[b'/'; MAX_PATH])],
                ..Layer::default()
            }],
            vec![],
        ),
    ];
    for plan in fits {
        assert_eq!(Plan::decode(&plan.encode().unwrap()), Ok(plan));
    }
    let wide =
        Layer { handled_fs: 1, paths: vec![rule(1, &[b'/'; MAX_PATH]); 300], ..Layer::default() };
    let passes = [
        (plan(vec![scope; MAX_LAYERS + 1], vec![]), "layers"),
        (plan(vec![rules(MAX_RULES + 1)], vec![]), "rules in a layer"),
        (plan(vec![], vec![filter(1); MAX_FILTERS + 1]), "filters"),
        (plan(vec![], vec![filter(MAX_INSTRUCTIONS + 1)]), "instructions"),
        (plan(vec![wide], vec![]), "bytes"),
    ];
    for (plan, expected) in passes {
        for result in [plan.encode().map(drop), Plan::decode(&encode_unchecked(&plan)).map(drop)] {
            assert!(
                matches!(&result, Err(PlanError::TooMany { what, .. }) if what.starts_with(expected)),
                "{expected}: {result:?}"
            );
        }
    }
}

#[test]
fn a_claimed_count_is_not_believed() {
    for at in [12_usize, 40] {
        let mut bytes = small().encode().unwrap();
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(Plan::decode(&bytes), Err(PlanError::TooMany { .. })), "count at {at}");
    }
}

/// What a careless or hostile writer would produce.
fn encode_unchecked(plan: &Plan) -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes(&MAGIC);
    out.u32(VERSION);
    out.count(plan.layers.len(), "layers").unwrap();
    for layer in &plan.layers {
        layer.encode(&mut out).unwrap();
    }
    out.count(plan.filters.len(), "filters").unwrap();
    for filter in &plan.filters {
        filter.encode(&mut out).unwrap();
    }
    out.finish()
}

fn any_layer() -> impl Strategy<Value = Layer> {
    let path = proptest::collection::vec(1_u8..=255, 0..40).prop_map(|tail| {
        let mut path = vec![b'/'];
        path.extend(tail);
        path
    });
    (
        1_u64..,
        1_u64..,
        any::<u64>(),
        proptest::collection::vec((any::<u64>(), path), 0..6),
        proptest::collection::vec((any::<u64>(), any::<u16>()), 0..6),
    )
        .prop_map(|(handled_fs, handled_net, scoped, paths, ports)| {
            let within = |access: u64, handled: u64| match access & handled {
                0 => handled,
                some => some,
            };
            Layer {
                handled_fs,
                handled_net,
                scoped,
                paths: paths
                    .into_iter()
                    .map(|(access, path)| PathRule { access: within(access, handled_fs), path })
                    .collect(),
                ports: ports
                    .into_iter()
                    .map(|(access, port)| PortRule { access: within(access, handled_net), port })
                    .collect(),
            }
        })
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let instruction = (any::<u16>(), any::<u8>(), any::<u8>(), any::<u32>())
        .prop_map(|(code, jt, jf, k)| Instruction { code, jt, jf, k });
    (any::<u32>(), proptest::collection::vec(instruction, 1..40))
        .prop_map(|(flags, instructions)| Filter { flags, instructions })
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let layers = proptest::collection::vec(any_layer(), 0..4);
    (layers, proptest::collection::vec(any_filter(), 0..4), any::<bool>())
        .prop_map(|(layers, filters, log_denials)| Plan { layers, filters, log_denials })
}

proptest! {
    #[test]
    fn a_plan_comes_back(plan in any_plan()) {
        prop_assert_eq!(Plan::decode(&plan.encode().unwrap()), Ok(plan));
    }

    #[test]
    fn what_decodes_is_canonical(plan in any_plan(), at in any::<prop::sample::Index>(), bits in 1_u8..) {
        let mut bytes = plan.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        if let Ok(other) = Plan::decode(&bytes) {
            prop_assert_eq!(other.encode(), Ok(bytes));
        }
    }

    #[test]
    fn random_bytes_do_not_panic(tail in proptest::collection::vec(any::<u8>(), 0..400), headed in any::<bool>()) {
        let mut bytes = if headed { [&MAGIC[..], &VERSION.to_le_bytes()].concat() } else { vec![] };
        bytes.extend(tail);
        let _ = Plan::decode(&bytes);
    }
}
