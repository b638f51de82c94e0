//! Six shapes of configuration, and some more, under each containerd: installed, again, and taken away.

use coaming_integration::{Containerd, Error, World, can_run};

use crate::shapes::{Shape, shapes};
use crate::tree::{apart, clear, dump, files, state, world};

#[test]
fn containerd_1_6() -> Result<(), Error> {
    all(Containerd::V1_6)
}

#[test]
fn containerd_1_7() -> Result<(), Error> {
    all(Containerd::V1_7)
}

#[test]
fn containerd_2() -> Result<(), Error> {
    all(Containerd::V2)
}

fn all(containerd: Containerd) -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let world = world(containerd)?;
    let stock = world.run(["containerd", "config", "default"])?.ok("config default")?.stdout;
    let shapes = shapes(containerd, &stock);
    assert!(shapes.len() >= 7);
    for shape in shapes {
        one(&world, &shape, &stock)?;
    }
    Ok(())
}

#[track_caller]
fn one(world: &World, shape: &Shape, stock: &str) -> Result<(), Error> {
    let name = shape.name;
    clear(world)?;
    for (path, text, mode) in &shape.files {
        world.write(path, text, *mode)?;
        // Neither today's time nor root's own group.
        let line = format!("chgrp 7 {path}; touch -d '2020-02-02 02:02:02.123456789' {path}");
        world.run(["sh", "-c", &line])?.ok("touch")?;
    }
    let before = files(world)?;
    let stood = match shape.files.is_empty() {
        true => stock.to_owned(),
        false => dump(world, &shape.main)?,
    };
    let mut flags = vec!["--for", "containerd"];
    // Said first, and nothing written.
    if shape.replaces {
        let refused = state(world, &flags, 1, "refused")?;
        let why = refused["reasons"].to_string();
        assert!(why.contains("imports = [\\\"/etc/containerd/conf.d/*.toml\\\"]"), "{name}: {why}");
        flags.push("--replace");
    }
    state(world, &[&flags[..], &["--dry-run"]].concat(), 1, "installed")?;
    assert_eq!(files(world)?, before, "{name}: refused, or --dry-run");

    let done = state(world, &flags, 0, "installed")?;
    assert!(
        done["validatedBy"].as_str().unwrap().ends_with("containerd config dump"),
        "{name}: {done:#}"
    );
    assert!(done["files"][0]["diff"].as_str().unwrap().contains("\n+"), "{name}: {done:#}");
    let stands = dump(world, &rendered(world, shape)?)?;
    let (rest, handler) = apart(&stands, "coaming");
    assert_eq!(apart(&stood, "coaming"), (rest, Vec::new()), "{name}");
    let handler = handler.join("\n");
    let expected = [
        "runtime_type = \"io.containerd.runc.v2\"",
        "BinaryName = \"/usr/libexec/coaming/coaming-runc\"",
        shape.has,
    ];
    for expected in expected {
        assert!(
            handler.replace('\'', "\"").contains(expected),
            "{name}: no {expected} in {handler}"
        );
    }

    let once = files(world)?;
    assert_ne!(once, before);
    state(world, &flags, 0, "unchanged")?;
    state(world, &[&flags[..], &["--dry-run"]].concat(), 0, "unchanged")?;
    assert_eq!(files(world)?, once, "{name}: a second time");

    state(world, &["--uninstall", "--dry-run"], 1, "removed")?;
    assert_eq!(files(world)?, once, "{name}: --uninstall --dry-run");
    state(world, &["--uninstall"], 0, "removed")?;
    assert_eq!(files(world)?, before, "{name}: taken away");
    let (code, answer) = crate::tree::install(world, &["--uninstall"])?;
    assert_eq!(
        (code, answer["runtimes"].as_array().unwrap().len()),
        (0, 0),
        "{name}: nothing more"
    );
    Ok(())
}

/// The main file, or what k3s would make of it with the template.
fn rendered(world: &World, shape: &Shape) -> Result<String, Error> {
    let Some(template) = &shape.template else { return Ok(shape.main.clone()) };
    let text = world.read(template)?;
    let ours: Vec<&str> = text.lines().filter(|line| !line.starts_with("{{")).collect();
    assert!(text.lines().any(|line| line == "{{ template \"base\" . }}"), "{text}");
    let made = format!("{}\n{}\n", world.read(&shape.main)?, ours.join("\n"));
    world.write("/run/rendered.toml", made, 0o644)?;
    Ok("/run/rendered.toml".to_owned())
}
