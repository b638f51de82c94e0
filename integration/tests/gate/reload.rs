//! Policies that change, break and come back while containers start: each starts under one whole set.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use coaming_integration::{Error, can_run};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::setup::{Bench, FREELY, runtimes};

const STARTS: usize = 200;
const AT_ONCE: usize = 4;
const FOLDER: &str = "/etc/coaming/policy.d";

/// Two sets of two files, each of which masks a path of its own.
const SETS: [[&str; 2]; 2] =
    [["/proc/version", "/proc/uptime"], ["/proc/loadavg", "/proc/filesystems"]];

/// Says which of the paths are masked: a masked file is empty.
const LOOK: &str =
    "for f in version uptime loadavg filesystems; do read -r x </proc/$f || echo /proc/$f; done";

fn text(number: usize, path: &str) -> String {
    format!(
        "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p{number}}}\nspec:\n  maskedPaths: [{path}]\n"
    )
}

fn manifest(set: [&str; 2]) -> String {
    let line = |(number, path): (usize, &str)| {
        let digest = Sha256::digest(text(number, path));
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{hex}  p{number}.yaml\n")
    };
    set.into_iter().enumerate().map(line).collect()
}

/// Goes from one set to the other and back, by ways on which every state between is broken or torn.
fn change(folder: &Path, done: &AtomicBool) {
    let pause = |milliseconds| thread::sleep(Duration::from_millis(milliseconds));
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let policies = |set: [&str; 2], between: u64| {
        for (number, path) in set.into_iter().enumerate() {
            write(&format!("p{number}.yaml"), &text(number, path));
            thread::sleep(Duration::from_millis(between));
        }
    };
    let mut round = 0;
    while !done.load(Ordering::Relaxed) {
        let set = SETS[(round + 1) % 2];
        match round % 4 {
            // The manifest last, and first.
            0 => {
                policies(set, 20);
                write("SHA256SUMS", &manifest(set));
            }
            1 => {
                write("SHA256SUMS", &manifest(set));
                pause(20);
                policies(set, 20);
            }
            // Broken in every file, and mended.
            2 => {
                write("p0.yaml", "kind: Policy\n");
                pause(20);
                write("SHA256SUMS", "nothing\n");
                pause(20);
                fs::remove_file(folder.join("p1.yaml")).unwrap();
                pause(20);
                write("SHA256SUMS", &manifest(set));
                policies(set, 0);
            }
            // Renamed into place, one by one.
            _ => {
                for (number, path) in set.into_iter().enumerate() {
                    write(".new", &text(number, path));
                    fs::rename(folder.join(".new"), folder.join(format!("p{number}.yaml")))
                        .unwrap();
                    pause(10);
                }
                write("SHA256SUMS", &manifest(set));
            }
        }
        pause(60);
        round += 1;
    }
}

#[test]
fn each_start_is_held_to_one_whole_set_while_files_change_break_and_come_back() -> Result<(), Error>
{
    if !can_run()? {
        return Ok(());
    }
    let bench = Bench::with(runtimes()[0], "node", FREELY)?;
    let folder = bench.world.path(FOLDER);
    for (number, path) in SETS[0].into_iter().enumerate() {
        bench.world.write(format!("{FOLDER}/p{number}.yaml"), text(number, path), 0o644)?;
    }
    bench.world.write(format!("{FOLDER}/SHA256SUMS"), manifest(SETS[0]), 0o644)?;
    let spec = |id: &str| {
        let mut spec = coaming_integration::default_spec(id, ["sh", "-c", LOOK])?;
        // Nothing of its own may be masked there.
        spec["linux"]["maskedPaths"] = json!([]);
        Ok::<_, Error>(spec)
    };
    let started = |id: &str, times: usize| -> Result<Vec<String>, Error> {
        let bundle = coaming_integration::Bundle::new(&bench.world, id, &spec(id)?)?;
        let mut seen = Vec::new();
        for _ in 0..times {
            bundle.configure(spec(id)?.to_string())?;
            let output = bench.gated.run(&bundle, b"")?;
            assert_eq!(output.code, 0, "a start was refused: {output:?}");
            seen.push(output.stdout.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        Ok(seen)
    };
    let whole = SETS.map(|set| set.join(" "));
    assert_eq!(started("first", 1)?, [whole[0].clone()]);

    let done = AtomicBool::new(false);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    thread::scope(|scope| {
        scope.spawn(|| change(&folder, &done));
        let started = &started;
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|number| scope.spawn(move || started(&format!("t{number}"), STARTS / AT_ONCE)))
            .collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::Relaxed);
        for result in results {
            for marks in result.unwrap()? {
                *seen.entry(marks).or_default() += 1;
            }
        }
        Ok::<_, Error>(())
    })?;
    eprintln!("{seen:?}");
    for marks in seen.keys() {
        assert!(whole.contains(marks), "neither set whole: {marks:?} of {seen:?}");
    }
    for marks in &whole {
        assert!(
            seen.get(marks).is_some_and(|count| *count >= 10),
            "{marks:?} was hardly in force: {seen:?}"
        );
    }
    assert_eq!(bench.records()?, "");
    Ok(())
}
