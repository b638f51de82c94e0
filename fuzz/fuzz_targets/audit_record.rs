//! The kernel's audit records, in their three forms: nothing panics, and what is put together tells of no more denials than
//! there were records.
#![no_main]

use coaming_audit::{Assembler, from_file, from_kmsg, from_netlink};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut assembler = Assembler::default();
    let mut events = Vec::new();
    let mut records = 0;
    for line in data.split(|byte| *byte == b'\n') {
        let kind = [1300, 1320, 1326, 1400, 1423, 1424, 1503][line.len() % 7];
        for record in [from_kmsg(line), from_file(line), from_netlink(kind, line)].into_iter().flatten() {
            records += 1;
            events.extend(assembler.push(record));
        }
    }
    events.extend(assembler.rest());
    let denials: usize = events.iter().map(|event| event.denials().len()).sum();
    assert!(denials <= records);
    for event in &events {
        assert!(!event.records.is_empty() && event.domains().count() <= event.records.len());
    }
});
