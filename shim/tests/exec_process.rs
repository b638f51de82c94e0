//! The model of what an exec without `--process` runs, held against the runtimes themselves.

// clippy takes only functions marked #[test] for tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod container;

use std::fs;

use coaming_shim::argv::{Command, Invocation, ProcessSource};
use coaming_shim::exec_process::requested;
use coaming_shim::family::Family;

use self::container::{Container, NO_HYBRID_CGROUPS, after_begin, config};

const LOOK: &str = "echo BEGIN; pwd; umask; ulimit -n; ulimit -Hn; env | sort; \
                    grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs):' /proc/self/status";

#[test]
fn runc_runs_what_the_model_says() {
    let Some(container) = Container::start("runc", "") else {
        return;
    };
    for flags in [
        "",
        "--cwd /proc --env A=1 --env PATH=/bin:/x",
        "--user 5",
        "--user 5:6 --additional-gids 8 --additional-gids 9",
        "--no-new-privs=false --cap CAP_SYS_CHROOT",
        "--no-new-privs",
    ] {
        compare(&container, Family::Runc, flags);
    }
}

#[test]
fn crun_runs_what_the_model_says() {
    let Some(container) = Container::start("crun", NO_HYBRID_CGROUPS) else {
        return;
    };
    // Always --user and never --env: the model follows crun from 1.17 on in the one and from 1.28
    // on in the other, and the installed one may be older.
    for flags in [
        "--user 0",
        "--user 5 --cwd /proc",
        "--user 5:6",
        "--user 0 --cap CAP_CHOWN",
        "--user 0 --no-new-privs",
    ] {
        compare(&container, Family::Crun, flags);
    }
}

fn compare(container: &Container, family: Family, flags: &str) {
    let mut argv = vec!["exec"];
    argv.extend(flags.split_whitespace());
    argv.extend([container.id, "sh", "-c", LOOK]);
    let by_flags = after_begin(&container.run(&argv));

    let words: Vec<_> = argv.iter().map(Into::into).collect();
    let Command::Exec(exec) = Invocation::parse(&words).unwrap().command else { panic!("no exec") };
    let ProcessSource::Inline(inline) = exec.process else { panic!("not inline") };
    let process = requested(config().get("process").unwrap(), &inline, family).unwrap();
    let file = container.dir.path().join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    let by_file = ["exec", "--process", file.to_str().unwrap(), container.id];
    assert_eq!(after_begin(&container.run(&by_file)), by_flags, "{family:?} {flags:?}");
}
