//! The root of a node image: a containerd in it is asked within it, and nothing outside is touched.

use coaming_integration::{Containerd, Error, can_run};

use crate::tree::{CONFIG, clear, files, state, world};

#[test]
fn an_image_is_written_and_asked_within_itself() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for containerd in [Containerd::V1_7, Containerd::V2] {
        let world = world(containerd)?;
        clear(&world)?;
        let program = containerd.path();
        // /etc/containerd is a link, absolute as images have them, to a place that is elsewhere outside.
        let line = format!(
            "mkdir -p /run/image/usr/sbin /run/image/opt/containerd /run/image/etc && cd /run/image && cp {program} usr/sbin/ && \
             for file in $(ldd {program} | grep -o '/[^ ]*'); do cp --parents $file . ; done && \
             ln -s /opt/containerd etc/containerd && find /run/image -printf '%p %y %m\\n' | sort >/run/image.before",
            program = program.display()
        );
        world.run(["sh", "-c", &line])?.ok("an image")?;
        let outside = files(&world)?;
        let root = ["--root", "/run/image"];
        let done = state(&world, &root, 0, "installed")?;
        assert_eq!(done["validatedBy"], "/usr/sbin/containerd config dump", "{done:#}");
        let notes = done["notes"].to_string();
        assert!(notes.contains("coaming-runc is not there"), "{notes}");
        assert!(world.read("/run/image/opt/containerd/config.toml")?.contains("imports"));
        assert_eq!(files(&world)?, outside, "{CONFIG} of the machine");
        state(&world, &root, 0, "unchanged")?;
        state(&world, &[&root[..], &["--uninstall"]].concat(), 0, "removed")?;
        let line = "find /run/image -printf '%p %y %m\\n' | sort | diff /run/image.before -";
        assert_eq!(world.run(["sh", "-c", line])?.text(), "", "{containerd:?}");
    }
    Ok(())
}
