//! What the kernel says of a process, which names what a container chose: mounts, its name, its label.
#![no_main]

use coaming_policy::controls::se_linux::context::Context;
use coaming_policy::proc::Seen;
use coaming_shim::proof::process::Stat;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut seen = Seen::default();
    seen.read_status(text);
    seen.read_mountinfo(text);
    seen.read_limits(text);
    assert!(seen.mounts.len() <= text.lines().count());
    for mount in &seen.mounts {
        assert!(seen.mount_at(&mount.target).is_some());
        let _ = seen.is_in_read_only_mount(&mount.target);
    }
    // A process's name may hold anything; what counts stands after it.
    let _ = Stat::parse(text);
    let named = format!("7 ({text}) S 1 7 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4242 0\n");
    let stat = Stat::parse(&named).expect("a process of any name is one");
    assert!(stat.start == 4242 && !stat.ended);
    if let Some(context) = Context::of_attribute(text) {
        let _ = context.range();
    }
});
