//! What is not baked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use coaming_integration::{Error, can_run};

use crate::root::Image;

#[test]
fn the_machines_own_root_and_what_is_no_system_are_refused() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let image = Image::new()?;
    let link = image.path("link");
    std::os::unix::fs::symlink("/", &link).unwrap();
    for root in [Path::new("/"), Path::new("/."), &link, Path::new("/proc/self/root")] {
        let said = image.say(root, &["--no-managers", "--check"]);
        assert_eq!(said.code, 2, "{root:?}: {said:?}");
        assert!(said.stderr.contains("the root of this machine"), "{root:?}: {said:?}");
    }
    let said = image.say(&image.path("policy"), &["--no-managers"]);
    assert!(said.code == 2 && said.stderr.contains("has no /usr"), "{said:?}");
    Ok(())
}

#[test]
fn nothing_is_written_outside_of_the_root() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let image = Image::new()?;
    let given = image.given();
    let mut arguments: Vec<&str> = given.iter().map(String::as_str).collect();
    arguments.push("--no-managers");
    let outside = image.path("outside");
    fs::create_dir(&outside).unwrap();
    let leads_out = [
        ("etc/coaming", outside.display().to_string()),
        ("usr/libexec", "../../outside".to_owned()),
        ("usr/lib", "/../../../..".to_owned() + &outside.display().to_string()),
    ];
    for (place, target) in &leads_out {
        image.link(target, place);
        let said = image.say(&image.root(), &arguments);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{place}: {said:?}");
        fs::remove_file(image.root().join(place)).unwrap();
    }
    // A link that stays inside, as images have them, is followed there.
    fs::create_dir_all(image.root().join("real")).unwrap();
    image.link("/real", "etc/coaming");
    let said = image.say(&image.root(), &arguments);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(image.root().join("real/policy.d/payments.yaml").exists());
    Ok(())
}

#[test]
fn what_others_put_there_or_could_change_is_left_alone() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let image = Image::new()?;
    let given = image.given();
    let mut arguments: Vec<&str> = given.iter().map(String::as_str).collect();
    arguments.push("--no-managers");
    fs::create_dir_all(image.root().join("etc/coaming/policy.d")).unwrap();
    let theirs = image.root().join("etc/coaming/policy.d/theirs.yaml");
    fs::write(&theirs, "kind: Policy\n").unwrap();
    fs::write(image.root().join("usr/bin/coaming"), "another").unwrap();
    let before = image.inventory();
    let (code, answer) = image.bake(&arguments);
    assert_eq!(code, 1, "{answer:#}");
    let refused = answer["refused"].to_string();
    assert!(refused.contains("theirs.yaml") && refused.contains("/usr/bin/coaming"), "{refused}");
    assert_eq!(image.inventory(), before);
    // Their policy stays in the way: with it the set in force would be another.
    let (code, answer) = image.bake(&[&arguments[..], &["--force"]].concat());
    assert_eq!((code, answer["refused"].as_array().map(Vec::len)), (1, Some(1)), "{answer:#}");
    fs::remove_file(&theirs).unwrap();
    assert_eq!(image.bake(&[&arguments[..], &["--force"]].concat()).0, 0);

    // A folder that others can write.
    let open = image.root().join("usr/libexec/coaming");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(open.join("coaming-init"), "x").unwrap();
    let said = image.say(&image.root(), &arguments);
    assert!(said.code == 2 && said.stderr.contains("777"), "{said:?}");
    Ok(())
}

#[test]
fn what_a_node_would_not_take_is_not_baked() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let image = Image::new()?;
    let given = image.given();
    let mut arguments: Vec<&str> = given.iter().map(String::as_str).collect();
    arguments.push("--no-managers");
    let before = image.inventory();
    let refuses = |what: &str| {
        let said = image.say(&image.root(), &arguments);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.stderr.contains(what), "no {what:?}: {said:?}");
    };
    fs::write(image.path("policy/broken.yaml"), "kind: Policy\n").unwrap();
    refuses("broken.yaml");
    fs::remove_file(image.path("policy/broken.yaml")).unwrap();
    fs::write(image.path("config.toml"), "flor = \"node\"\n").unwrap();
    refuses("flor");
    fs::write(image.path("config.toml"), "[policy]\nsignatures = \"required\"\n").unwrap();
    refuses("sign");
    fs::write(image.path("config.toml"), "floor = \"node\"\n").unwrap();
    // Programs of another build.
    let wrapper = image.path("programs/usr/libexec/coaming/coaming-runc");
    let kept = fs::read(&wrapper).unwrap();
    fs::remove_file(&wrapper).unwrap();
    refuses("coaming-runc");
    fs::write(&wrapper, kept).unwrap();
    refuses("not executable");
    assert_eq!(image.inventory(), before);
    Ok(())
}
