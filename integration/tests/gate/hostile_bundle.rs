//! Bundles that are not what they should be, given to the wrapper without containerd.

use coaming_integration::{Bundle, Error, PAIRS, can_run, default_spec};
use serde_json::{Value, json};

use crate::setup::{Bench, outcome, parsed, policy, runtimes, says};

/// What is in the bundle, by name, type, mode and content: equal before and after a refusal.
fn contents(bench: &Bench, bundle: &Bundle<'_>) -> Result<String, Error> {
    let look = format!(
        "cd {} && find . -path ./rootfs -prune -o -printf '%p %y %m %U %i %l\\n' | sort; \
         find . -maxdepth 1 -type f -exec sha256sum {{}} + | sort",
        bundle.path().display()
    );
    Ok(bench.shell(&look)?.ok("look at the bundle")?.stdout)
}

/// Tries to run the bundle; it must be refused with these words, and nothing be changed by it.
fn is_refused(bench: &Bench, bundle: &Bundle<'_>, parts: &[&str]) -> Result<(), Error> {
    let before = contents(bench, bundle)?;
    let output = bench.gated.run(bundle, b"")?;
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{parts:?}: {output:?}");
    says(&output.stderr, parts);
    assert_eq!(output.stderr.lines().count(), 1, "the runtime was called too: {output:?}");
    assert_eq!(contents(bench, bundle)?, before);
    assert_eq!(bench.records()?, "");
    assert_eq!(bench.shell("ls -A /run/bare 2>/dev/null; true")?.stdout, "");
    Ok(())
}

#[test]
fn what_the_runtime_might_read_otherwise_is_refused_and_nothing_changed() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let [(_, runc), (_, crun), ..] = PAIRS;
    for runtime in [runc, crun] {
        let bench = Bench::new(runtime, "baseline")?;
        let bundle = bench.bundle("hostile", &["probe", "ids"], |_| {})?;
        let good = default_spec("hostile", ["probe", "ids"])?.to_string();
        let text = |bad: &str| bundle.configure(bad);

        text(&good.replacen("\"process\":", "\"Process\":{},\"process\":", 1))?;
        is_refused(&bench, &bundle, &["config.json", "Process"])?;
        text(&good.replacen("\"noNewPrivileges\":true", "\"nonewprivileges\":true", 1))?;
        is_refused(&bench, &bundle, &["config.json", "nonewprivileges", "noNewPrivileges"])?;
        // U+017F, which Go's folding takes for an s.
        text(&good.replacen("\"args\":", "\"arg\u{17f}\":[\"sh\"],\"args\":", 1))?;
        is_refused(&bench, &bundle, &["config.json"])?;
        text(&good.replacen("\"process\":", "\"process\":{},\"process\":", 1))?;
        is_refused(&bench, &bundle, &["config.json", "duplicate key \"process\""])?;
        text(&good[..good.len() / 2])?;
        is_refused(&bench, &bundle, &["config.json", "EOF", "line 1 column"])?;
        text(&format!("{good}{{}}"))?;
        is_refused(&bench, &bundle, &["config.json", "trailing"])?;
        text("[]")?;
        is_refused(&bench, &bundle, &["config.json", "not a JSON object"])?;
        text("")?;
        is_refused(&bench, &bundle, &["config.json", "EOF"])?;
        text(&good.replacen(
            '{',
            &format!("{{\"annotations\":{{\"a\":{}{}}},", "[".repeat(100_000), "]".repeat(100_000)),
            1,
        ))?;
        is_refused(&bench, &bundle, &["config.json", "recursion limit"])?;
        text(&format!("{good}{}", " ".repeat(100 << 20)))?;
        is_refused(&bench, &bundle, &["config.json is larger than", "4 MiB"])?;

        let (path, at) = (bundle.path(), bundle.path().join("config.json"));
        let (path, at) = (path.display(), at.display());
        let not_files = [
            (format!("rm {at}"), &["opening", "config.json", "No such file"][..]),
            (format!("mkdir {at}"), &["config.json is not a regular file"]),
            (format!("rmdir {at}; mkfifo {at}"), &["config.json is not a regular file"]),
            (
                format!("rm {at}; echo '{{}}' >{path}/real; ln -s real {at}"),
                &["opening", "config.json"],
            ),
            (format!("rm {at}; ln {path}/real {at}"), &["config.json has 2 hard links"]),
            (format!("rm {path}/real; chmod 666 {at}"), &["config.json", "0666"]),
            (format!("chmod 644 {at}; chown 1000 {at}"), &["config.json", "uid 1000"]),
            (format!("chown 0 {at}; chmod 777 {path}"), &["bundles/hostile", "0777"]),
            (format!("chmod 755 {path}; chmod 777 /run/bundles"), &["/run/bundles", "0777"]),
        ];
        for (change, parts) in not_files {
            bench.shell(&change)?.ok(&change)?;
            is_refused(&bench, &bundle, parts)?;
        }
        bench.shell("chmod 755 /run/bundles")?.ok("chmod")?;
        bundle.configure(&good)?;
        assert!(bench.gated.run(&bundle, b"")?.success(), "the good one runs");
    }
    Ok(())
}

#[test]
fn the_place_of_the_launcher_is_taken() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let [(_, runtime), ..] = PAIRS;
    let bench = Bench::new(runtime, "node")?;
    for (number, at) in
        ["/dev/.coaming", "/dev/./.coaming/init", "/etc/../dev//.coaming"].iter().enumerate()
    {
        let bundle = bench.bundle(&format!("place-{number}"), &["probe", "ids"], |spec| {
            let mount =
                json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": []});
            spec["mounts"].as_array_mut().unwrap().push(mount);
        })?;
        is_refused(&bench, &bundle, &["mounts", "/dev/.coaming, the launcher's place"])?;
    }
    Ok(())
}

/// Whatever order, spacing or spelling the author chose: what coaming does not change stays as it was.
#[test]
fn what_is_not_changed_is_kept() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let strange = json!({
        "z-first": 1, "a-second": {"nested": [1.5, "\u{e9}\n", null, {"Deep": true}]}, "big": 18_446_744_073_709_551_615_u64,
        "negative": -9_223_372_036_854_775_808_i64,
    });
    for runtime in runtimes() {
        let bench = Bench::new(runtime, "baseline")?;
        let bundle = bench.bundle("kept", &["probe", "ids"], |spec| {
            spec["x-vendor"] = strange.clone();
            spec["linux"]["x-vendor"] = strange.clone();
            spec["process"]["x-vendor"] = strange.clone();
            spec["annotations"] = json!({"Some.Key": "v", "some.key": "w"});
        })?;
        let before = bench.world.read(bundle.path().join("config.json"))?;
        assert!(bench.gated.run(&bundle, b"")?.success(), "{runtime}");
        let after = bench.world.read(bundle.path().join("config.json"))?;
        let (before, after): (Value, Value) =
            (serde_json::from_str(&before).unwrap(), serde_json::from_str(&after).unwrap());
        assert!(after.pointer("/linux/seccomp").is_some(), "it was not rewritten at all");
        for place in [
            "/x-vendor",
            "/linux/x-vendor",
            "/process/x-vendor",
            "/annotations",
            "/root",
            "/process/env",
            "/mounts",
        ] {
            // As text: the order of keys and the spelling of numbers too.
            let [before, after] =
                [&before, &after].map(|spec| spec.pointer(place).map(Value::to_string));
            assert_eq!(before, after, "{place}");
            assert!(before.is_some(), "{place}");
        }
        let owner =
            bench.shell("cd /run/bundles/kept; stat -c %a:%u:%g config.json; ls -A")?.stdout;
        assert_eq!(owner, "644:0:0\nconfig.json\nrootfs\n", "{runtime}");
    }
    Ok(())
}

/// Two calls share a block of libseccomp's program, and one of them comes to it with another argument loaded. The runtime
/// loads that without a word.
#[test]
fn a_profile_that_libseccomp_gets_wrong_is_refused() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let on = |index: u32, mask: u64, value: u64| json!({"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"});
    let rule = |name: &str, action: &str, args: &[Value]| json!({"names": [name], "action": action, "args": args});
    let mut rules = vec![
        rule("keyctl", "SCMP_ACT_LOG", &[on(0, !1, 2), on(1, u64::MAX, 1 << 63)]),
        rule("keyctl", "SCMP_ACT_TRAP", &[on(0, !1, 0)]),
        rule("ptrace", "SCMP_ACT_TRAP", &[on(0, !1, 0)]),
    ];
    for (mask, value) in [(!15, 16), (!7, 8), (!3, 4), (!1, 2)] {
        rules.push(rule("ptrace", "SCMP_ACT_LOG", &[on(0, mask, value)]));
    }
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    let [(_, runc), (_, crun), ..] = PAIRS;
    for runtime in [runc, crun] {
        let bench = Bench::new(runtime, "node")?;
        let bundle = bench.bundle("wrong", &["probe", "ids"], |spec| {
            spec["linux"]["seccomp"] = profile.clone();
        })?;
        assert_eq!(bench.stock.run(&bundle, b"")?.code, 0, "{runtime}");
        is_refused(&bench, &bundle, &["seccomp", "keyctl", "will not be used"])?;
    }
    Ok(())
}

/// Docker and people start a bundle again. Behind the launcher the second request would be judged by the launcher's
/// arguments and mounts in place of the caller's.
#[test]
fn a_bundle_that_was_run_before() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        let bench = Bench::new(runtime, "baseline")?;
        let bundle = bench.bundle("twice", &["probe", "status"], |_| {})?;
        for _ in 0..3 {
            let status = parsed(&bench.gated.run(&bundle, b"")?);
            assert_eq!(status["seccomp"], 2, "{runtime}");
        }
        let text = bench.world.read(bundle.path().join("config.json"))?;
        assert_eq!(
            text.matches("coaming-hook\"").count(),
            2,
            "one hook: its path and its argv[0]: {text}"
        );

        policy(&bench.world, "landlock", "landlock: {write: [/tmp, /dev]}")?;
        let bundle = bench.bundle("again", &["probe", "create", "/etc/new"], |_| {})?;
        assert_eq!(outcome(&bench.gated.run(&bundle, b"")?), "denied", "{runtime}");
        let second = bench.gated.run(&bundle, b"")?;
        assert_eq!((second.code, second.stdout.as_str()), (1, ""), "{runtime}: {second:?}");
        says(&second.stderr, &["/dev/.coaming", "the launcher's place"]);
        assert_eq!(bench.records()?, "", "{runtime}");
    }
    Ok(())
}
