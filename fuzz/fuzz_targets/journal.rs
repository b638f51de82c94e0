//! The journal as it is found: whatever stands in a file, reading it ends, and a line that is understood
//! is the same when it is written again.
#![no_main]

use coaming_shim::journal::read::{lines, parse};
use coaming_shim::journal::{MAX_LINE, Totals};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (all, rest) = lines(data);
    assert_eq!(all.iter().map(|line| line.len() + 1).sum::<usize>() + rest.len(), data.len());
    let mut totals = Totals::default();
    for line in all {
        assert!(!line.contains(&b'\n'));
        let Ok(line) = parse(line) else { continue };
        totals.count(&line.event);
        let again = serde_json::to_vec(&line).unwrap();
        if again.len() <= MAX_LINE {
            assert_eq!(parse(&again).unwrap(), line);
        }
    }
});
