//! Snapshots of policies, and what is signed: whatever a file holds is read or refused, never worse, and
//! nothing that was not written is taken for a floor.
#![no_main]

use coaming_policy::document::{BuiltIn, Sources};
use coaming_policy::facts::Facts;
use coaming_policy::snapshot::{Keys, Root, Snapshot, check_manifest, encode};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

const POLICY: &[u8] = b"apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {name: held}\nspec:\n  \
                        match: {namespaces: [pay]}\n  noNewPrivileges: true\n";
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

fuzz_target!(|bytes: &[u8]| {
    let facts = Facts::of(
        "c",
        &serde_json::json!({"annotations": {"io.kubernetes.cri.sandbox-namespace": "pay"}}),
    );
    // Whoever could write a snapshot could give it its name too.
    let front = bytes.get(8..16).and_then(|length| length.try_into().ok()).map(u64::from_le_bytes);
    let front = front.and_then(|length| usize::try_from(length).ok()).and_then(|length| length.checked_add(64));
    if let Some(front) = front.and_then(|front| bytes.get(..front)) {
        if let Ok(snapshot) = Snapshot::open(bytes.to_vec(), Root(Sha256::digest(front).into())) {
            let _ = snapshot.select(&facts, BuiltIn::Node);
            let _ = snapshot.counts();
            let _ = snapshot.sources().map(|sources| sources.replay());
        }
    }
    // A good one, changed in places that the input names, under its good name.
    let mut sources = Sources::default();
    sources.directory = "/p".into();
    sources.files.insert("a.yaml".to_owned(), POLICY.to_vec());
    let directory = sources.replay().expect("the policy is read");
    let (root, good) = encode(&directory, &sources).expect("the snapshot is written");
    let mut changed = good.clone();
    for change in bytes.chunks_exact(5).take(8) {
        let at = u32::from_le_bytes([change[0], change[1], change[2], change[3]]) as usize % good.len();
        changed[at] ^= change[4];
    }
    let select = |bytes| Snapshot::open(bytes, root).and_then(|it| it.select(&facts, BuiltIn::Node));
    if let Ok(selected) = select(changed) {
        assert_eq!(selected, select(good).expect("the good one is read"));
    }
    sources.manifest = Some(bytes.to_vec());
    let _ = check_manifest(&sources);
    let keys = Keys::parse(&[KEY.to_owned()]).expect("the key is one");
    assert!(keys.verify(b"content", bytes).is_err());
});
