//! What is put into a root directory, twice, and what `--check` says of it.

use std::fs;
use std::path::Path;

use coaming_integration::{Error, can_run};
use serde_json::Value;

use crate::root::Image;

#[test]
fn a_root_is_baked_and_a_second_run_changes_nothing() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let image = Image::new()?;
    let given = image.given();
    let mut arguments: Vec<&str> = given.iter().map(String::as_str).collect();
    arguments.push("--no-managers");
    let checked = [&arguments[..], &["--check"]].concat();

    let before = image.inventory();
    let (code, answer) = image.bake(&checked);
    assert_eq!(code, 1, "{answer:#}");
    assert!(answer["changes"].as_array().unwrap().len() > 20, "{answer:#}");
    assert_eq!(image.inventory(), before, "a look is no change");

    let (code, answer) = image.bake(&arguments);
    assert_eq!(code, 0, "{answer:#}");
    assert_eq!(
        (&answer["policies"], answer["filters"].as_u64() > Some(3)),
        (&Value::from(1), true)
    );
    for file in [
        "usr/bin/coaming",
        "usr/libexec/coaming/coaming-runc",
        "usr/libexec/coaming/coaming-crun",
        "usr/lib/systemd/system/multi-user.target.wants/coaming-load.service",
        "usr/lib/tmpfiles.d/coaming.conf",
        "etc/coaming/config.toml",
        "etc/coaming/policy.d/payments.yaml",
    ] {
        assert!(!image.read(file).is_empty(), "{file}");
    }
    assert!(image.root().join("etc/coaming/break-glass.d").is_dir());
    let current: Value =
        serde_json::from_slice(&image.read("usr/lib/coaming/policy/current")).unwrap();
    assert_eq!(current["directory"], "/etc/coaming/policy.d", "as the node will name it");
    let snapshot = image
        .read(&format!("usr/lib/coaming/policy/{}.snapshot", current["root"].as_str().unwrap()));
    let outside = image.root().parent().unwrap().display().to_string();
    let names = |bytes: &[u8]| bytes.windows(outside.len()).any(|part| part == outside.as_bytes());
    assert!(!names(&snapshot), "no place of the machine that baked is in it");

    let after = image.inventory();
    let (code, answer) = image.bake(&arguments);
    assert_eq!((code, answer["changes"].as_array().map(Vec::len)), (0, Some(0)), "{answer:#}");
    assert_eq!(image.bake(&checked).0, 0);
    assert_eq!(image.inventory(), after);
    // Without being told again what is in it.
    assert_eq!(image.bake(&["--no-managers", "--check"]).0, 0);
    Ok(())
}

/// What is changed afterwards, by the image's maker or by another version's run, is found, and put right.
#[test]
fn what_is_not_current_is_told_and_mended() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let image = Image::new()?;
    let given = image.given();
    let mut arguments: Vec<&str> = given.iter().map(String::as_str).collect();
    arguments.push("--no-managers");
    let checked = [&arguments[..], &["--check"]].concat();
    assert_eq!(image.bake(&arguments).0, 0);
    let baked = image.inventory();
    let folder =
        fs::read_dir(image.root().join("usr/lib/coaming/filters")).unwrap().next().unwrap();
    let filter = fs::read_dir(folder.unwrap().path()).unwrap().next().unwrap().unwrap().path();
    let breaks: [(&str, &dyn Fn()); 5] = [
        ("a program", &|| {
            fs::write(image.root().join("usr/libexec/coaming/coaming-init"), "x").unwrap()
        }),
        ("a policy", &|| {
            fs::write(image.root().join("etc/coaming/policy.d/payments.yaml"), "x").unwrap();
        }),
        ("a filter", &|| fs::remove_file(&filter).unwrap()),
        ("a link", &|| {
            fs::remove_file(image.root().join("usr/libexec/coaming/coaming-crun")).unwrap();
        }),
        ("a mode", &|| chmod(&image.root().join("usr/bin/coaming"), 0o700)),
    ];
    for (what, break_it) in breaks {
        break_it();
        let (code, answer) = image.bake(&checked);
        assert_eq!(
            (code, answer["changes"].as_array().map(Vec::len)),
            (1, Some(1)),
            "{what}: {answer:#}"
        );
        assert_eq!(image.bake(&arguments).0, 0, "{what}");
        let (code, answer) = image.bake(&checked);
        assert_eq!(code, 0, "{what}: {answer:#}");
    }
    assert_eq!(image.inventory().len(), baked.len());

    // Other policies: what the old ones needed goes.
    fs::rename(image.path("policy/payments.yaml"), image.path("policy/other.yaml")).unwrap();
    assert_eq!(image.bake(&arguments).0, 0);
    assert!(!image.root().join("etc/coaming/policy.d/payments.yaml").exists());
    assert_eq!(fs::read_dir(image.root().join("usr/lib/coaming/policy")).unwrap().count(), 2);
    Ok(())
}

fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
