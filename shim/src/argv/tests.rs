//! The grammar against real callers' lines, against the runtimes' own help, and against random
//! ones.

use std::ffi::OsString;
use std::process::Command as Process;

use proptest::prelude::*;

use super::flag::{Flag, Kind, Of};
use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn parse(line: &str) -> Result<Invocation, ArgvError> {
    Invocation::parse(&words(line))
}

fn canonical(line: &str) -> String {
    let argv = parse(line).unwrap_or_else(|e| panic!("{line}: {e}")).to_argv();
    argv.iter().map(|w| w.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_the_callers_send_is_understood() {
    for (caller, line, expected) in [
        (
            "containerd create",
            "--root /run/containerd/runc/k8s.io --log /b/log.json --log-format json \
             --systemd-cgroup create --bundle /b --pid-file /b/init.pid --console-socket /s c1",
            "--log=/b/log.json --log-format=json --root=/run/containerd/runc/k8s.io \
             --systemd-cgroup create --bundle=/b --console-socket=/s --pid-file=/b/init.pid c1",
        ),
        (
            "containerd exec",
            "--root /r --log /l --log-format json exec --process /tmp/runc-process12 --detach \
             --pid-file /b/x.pid c1",
            "--log=/l --log-format=json --root=/r exec --detach --pid-file=/b/x.pid \
             --process=/tmp/runc-process12 c1",
        ),
        ("containerd delete and kill", "--root /r kill --all c1 9", "--root=/r kill --all c1 9"),
        (
            "conmon create",
            "--systemd-cgroup --log-format=json --log=/run/l create --bundle /b --no-pivot \
             --pid-file /p --preserve-fds 2 c1",
            "--log=/run/l --log-format=json --systemd-cgroup create --bundle=/b --pid-file=/p \
             --no-pivot --preserve-fds=2 c1",
        ),
        ("podman features", "features", "features"),
        ("podman version", "--version", "--version"),
        ("a person", "run -d -b /b c1", "run --bundle=/b --detach c1"),
        ("flags after words, as runc takes them", "run c1 -b=/b", "run --bundle=/b c1"),
        (
            "a person's exec",
            "exec -t -e A=1 -e=B=2 --cap CAP_KILL -c CAP_CHOWN -u 5:6 -g 7 c1 ls -t --help -- -p",
            "exec --env=A=1 --env=B=2 --tty --user=5:6 --additional-gids=7 --cap=CAP_KILL \
             --cap=CAP_CHOWN c1 ls -t --help -- -p",
        ),
        ("flags in clusters, as crun takes them", "exec -td c1 sh", "exec --detach --tty c1 sh"),
        ("the last one wins", "create --bundle /a --bundle /b c1", "create --bundle=/b c1"),
        ("booleans in Go's way", "run --detach=true --keep=0 c1", "run --detach c1"),
        (
            "no-new-privs is three-valued",
            "exec --no-new-privs=f c s",
            "exec --no-new-privs=false c s",
        ),
        (
            "a value may look like a flag",
            "update --memory-swap -1 c1",
            "update --memory-swap=-1 c1",
        ),
        ("update from a file", "update -r - c1", "update --resources=- c1"),
        ("ps options are ps'", "ps c1 -o pid", "ps c1 -o pid"),
        ("help", "exec -h", "exec --help"),
        ("help", "help kill", "kill --help"),
        ("crun's help", "-?", "--help"),
        ("nothing", "", "--help"),
    ] {
        assert_eq!(canonical(line), expected, "{caller}");
    }
}

#[test]
fn what_is_not_in_the_grammar_is_refused_by_name() {
    for (line, named) in [
        ("frobnicate c1", "frobnicate"),
        ("init", "init"),
        ("mounts add c1 /f", "mounts"),
        ("--frob create c1", "--frob"),
        ("create --frob c1", "--frob"),
        ("create --bund /b c1", "--bund"),
        ("create -bundle /b c1", "--bundle"),
        ("create -bundle=/b c1", "--bundle"),
        ("-root /r create c1", "--root"),
        ("exec -user 0 c1 sh", "--user"),
        ("create --config /tmp/other.json c1", "config.json"),
        ("create", "one container id"),
        ("create c1 c2", "got 2"),
        ("create ../x", "../x"),
        ("create -- -x", "-x"),
        ("create --preserve-fds 010 c1", "010"),
        ("create --preserve-fds=-1 c1", "-1"),
        ("create --bundle", "bundle"),
        ("create --no-pivot=maybe c1", "maybe"),
        ("exec c1", "a command"),
        ("exec --process - c1", "the path of a file"),
        ("exec --user 4294967296 c1 sh", "4294967296"),
        ("exec --user root c1 sh", "root"),
        ("exec --additional-gids -1 c1 sh", "-1"),
        ("--log-format xml state c1", "xml"),
        ("--systemd-cgroup --cgroup-manager cgroupfs state c1", "cgroup-manager"),
        ("kill c1 -- -9", "-9"),
        ("list c1", "no argument"),
    ] {
        let error = match parse(line) {
            Ok(found) => panic!("{line}: {found:?}"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(named), "{line}: {error}");
    }
}

#[test]
fn with_a_process_file_the_flags_that_describe_a_process_fall_away() {
    let line = "exec --process /p --cap CAP_SYS_ADMIN --user 0 --tty c1 sh";
    assert_eq!(canonical(line), "exec --process=/p c1");
}

#[test]
fn where_to_log_is_known_when_the_rest_is_not_understood() {
    let argv = words("--log /l --log-format json frobnicate --bogus");
    assert!(Invocation::parse(&argv).is_err());
    let global = Global::parse(&argv).unwrap();
    assert_eq!(global.log, Some("/l".into()));
    assert_eq!(global.log_format, Some(LogFormat::Json));
}

/// Flags named in the help of an installed runtime. Nothing when it is not installed.
fn flags_in_help(runtime: &str, args: &[&str]) -> Vec<String> {
    let Ok(output) = Process::new(runtime).args(args).arg("--help").output() else {
        return Vec::new();
    };
    if !output.status.success() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let listed = text.split_once("OPTIONS:").map_or(text.as_str(), |(_, options)| options);
    let mut found = Vec::new();
    for line in listed.lines().map(str::trim_start).filter(|line| line.starts_with('-')) {
        for word in line.split([' ', ',', '=', '[']).take_while(|word| !word.contains('\t')) {
            match word.strip_prefix("--") {
                Some(long) if !long.is_empty() => found.push(long.to_owned()),
                _ => {}
            }
        }
    }
    found
}

#[test]
fn the_tables_have_every_flag_that_the_installed_runtimes_list() {
    let verbs = "create run exec restore update start state kill delete ps list events pause \
                 resume features spec checkpoint";
    for (runtime, other) in [("runc", Of::Crun), ("crun", Of::Runc)] {
        let check = |place: &str, table: &'static [Flag], listed: Vec<String>| {
            for long in listed.iter().filter(|l| !matches!(l.as_str(), "help" | "usage")) {
                let row = table.iter().find(|flag| flag.long == long);
                let row = row.unwrap_or_else(|| panic!("{runtime} {place}: --{long} is missing"));
                assert_ne!(row.of, other, "{runtime} {place}: --{long} is {runtime}'s too");
            }
        };
        let globals = flags_in_help(runtime, &[]);
        if globals.is_empty() {
            continue; // not installed
        }
        assert!(globals.contains(&"root".to_owned()), "{globals:?}");
        check("", global::FLAGS, globals);
        for name in verbs.split_whitespace() {
            let verb = Verb::find(name.as_ref()).unwrap();
            check(name, verb.flags(), flags_in_help(runtime, &[name]));
        }
    }
}

#[test]
fn no_table_has_a_flag_twice() {
    for name in ["create", "run", "exec", "restore", "update", "kill", "delete", "checkpoint"] {
        let table = Verb::find(name.as_ref()).unwrap().flags();
        for (at, flag) in table.iter().enumerate() {
            assert!(table[..at].iter().all(|f| f.long != flag.long), "{name} --{}", flag.long);
        }
    }
}

/// Lines made of one verb's own vocabulary, so that many of them parse.
fn plausible_line() -> impl Strategy<Value = Vec<OsString>> {
    let verbs: &[&'static str] =
        &["create", "run", "exec", "update", "restore", "kill", "delete", "ps", "state"];
    prop::sample::select(verbs.to_vec()).prop_flat_map(|name| {
        let table = Verb::find(name.as_ref()).unwrap().flags();
        let value = prop::sample::select(vec![
            "1", "0", "/b", "", "-", "--", "-1", "a=b", "1:2", "true", "json", "-bundle", "é",
        ]);
        let index = 0..table.len().max(1);
        let word = (index, value.clone(), 0..6u8).prop_map(move |(i, value, form)| {
            let Some(flag) = table.get(i) else {
                return vec![value.to_owned()];
            };
            match form {
                0 | 1 => vec![format!("--{}={value}", flag.long)],
                2 if flag.kind != Kind::Bool => vec![format!("--{}", flag.long), value.to_owned()],
                3 if !flag.shorts.is_empty() => vec![format!("-{}{value}", flag.shorts[0])],
                4 => vec![value.to_owned()],
                _ => vec![format!("--{}", flag.long), value.to_owned()],
            }
        });
        (prop::collection::vec(word, 0..6), prop::collection::vec(value, 0..4)).prop_map(
            move |(flags, tail)| {
                let mut line = vec![name.to_owned()];
                line.extend(flags.into_iter().flatten());
                line.push("c1".to_owned());
                line.extend(tail.into_iter().map(str::to_owned));
                line.into_iter().map(OsString::from).collect()
            },
        )
    })
}

fn canonical_is_stable(argv: &[OsString]) -> Result<(), TestCaseError> {
    if let Ok(invocation) = Invocation::parse(argv) {
        let emitted = invocation.to_argv();
        let again = Invocation::parse(&emitted);
        prop_assert_eq!(again.as_ref(), Ok(&invocation), "{:?}", &emitted);
        prop_assert_eq!(invocation.to_argv(), emitted);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn parsing_the_canonical_line_gives_the_same(argv in plausible_line()) {
        canonical_is_stable(&argv)?;
    }

    #[test]
    fn no_line_makes_the_grammar_panic(
        raw in prop::collection::vec(prop::collection::vec(1u8.., 0..12), 0..8)
    ) {
        use std::os::unix::ffi::OsStringExt;
        let argv: Vec<_> = raw.into_iter().map(OsString::from_vec).collect();
        canonical_is_stable(&argv)?;
        let mut exec = words("exec c1");
        exec.extend(argv);
        canonical_is_stable(&exec)?;
    }
}

#[test]
fn most_plausible_lines_are_understood() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let understood = (0..500)
        .filter(|_| {
            let argv = plausible_line().new_tree(&mut runner).unwrap().current();
            Invocation::parse(&argv).is_ok()
        })
        .count();
    assert!(understood > 50, "only {understood} of 500: the round trip above proves little");
}
