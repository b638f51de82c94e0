//! The images that every node holds: made here, without a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;

use crate::oci_layout::{self, Entry, Image};
use crate::{Error, binaries, output};

/// busybox with a hard link in /bin for every applet, users `root` and `user` (uid and gid 1000).
pub const BUSYBOX: &str = "localhost/coaming/busybox:1";
/// As [`BUSYBOX`], with the probe at /bin/probe.
pub const PROBE: &str = "localhost/coaming/probe:1";
/// One static program, the probe at /probe, and nothing else: no shell, no /etc, no /tmp.
pub const DISTROLESS: &str = "localhost/coaming/distroless:1";
/// As [`PROBE`], with the probe set-user-ID root once more at /bin/probe-setuid, running as `user`.
pub const SETUID: &str = "localhost/coaming/setuid:1";
/// The sandbox image: a static program that reaps.
pub const PAUSE: &str = "localhost/coaming/pause:1";

/// All names.
pub const ALL: [&str; 5] = [BUSYBOX, PROBE, DISTROLESS, SETUID, PAUSE];

/// The tar of all images, an OCI layout; made once for the same programs and kept beside cargo's own output.
///
/// # Errors
/// When a program cannot be built or the file cannot be written.
pub fn tar() -> Result<&'static Path, Error> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    MADE.get_or_init(|| make().map_err(|error| error.to_string()))
        .as_deref()
        .map_err(|why| Error::Unavailable(why.clone()))
}

/// The files of one image as one tar, and the `config` object of its image configuration.
pub(crate) fn layer(name: &str) -> Result<(Vec<u8>, serde_json::Value), Error> {
    let unknown = || Error::malformed("an image's name")(format!("there is no {name}"));
    let image = images()?.into_iter().find(|image| image.name == name).ok_or_else(unknown)?;
    let layer = oci_layout::layer(&image.entries).map_err(Error::io("make", name))?;
    Ok((layer, image.config))
}

/// The files of [`PROBE`] as one tar: a root file system for bundles, and for who imports one.
///
/// # Errors
/// When the probe cannot be built.
pub fn rootfs() -> Result<&'static [u8], Error> {
    static MADE: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    let make =
        || oci_layout::layer(&probe_files()?).map_err(Error::io("make", "a root file system"));
    MADE.get_or_init(|| make().map_err(|error| error.to_string()))
        .as_deref()
        .map_err(|why| Error::Unavailable(why.clone()))
}

fn make() -> Result<PathBuf, Error> {
    let bytes = oci_layout::layout(&images()?).map_err(Error::io("make", "the image layout"))?;
    let folder = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from)
        .join("coaming-integration");
    fs::create_dir_all(&folder).map_err(Error::io("create", folder.display()))?;
    let path = folder
        .join(format!("images-{}.tar", oci_layout::digest(&bytes).trim_start_matches("sha256:")));
    if !path.exists() {
        // Written whole or not at all: several test processes may do the same at once.
        let mut file = tempfile::NamedTempFile::new_in(&folder)
            .map_err(Error::io("create a file in", folder.display()))?;
        std::io::Write::write_all(&mut file, &bytes).map_err(Error::io("write", path.display()))?;
        file.persist(&path).map_err(|error| Error::io("rename to", path.display())(error.error))?;
    }
    Ok(path)
}

fn images() -> Result<Vec<Image>, Error> {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let probe = read(binaries::probe()?)?;
    let mut setuid = probe_files()?;
    setuid.push(Entry::file("bin/probe-setuid", 0o4755, probe.clone()));
    Ok(vec![
        Image {
            name: BUSYBOX,
            entries: busybox_files()?,
            config: json!({"Env": [path], "Cmd": ["/bin/sh"]}),
        },
        Image {
            name: PROBE,
            entries: probe_files()?,
            config: json!({"Env": [path], "Cmd": ["/bin/sh"]}),
        },
        Image {
            name: DISTROLESS,
            entries: vec![Entry::file("probe", 0o755, probe)],
            config: json!({"Entrypoint": ["/probe"]}),
        },
        Image {
            name: SETUID,
            entries: setuid,
            config: json!({"Env": [path], "Cmd": ["/bin/sh"], "User": "1000:1000"}),
        },
        Image {
            name: PAUSE,
            entries: vec![Entry::file("pause", 0o755, read(binaries::reaper()?)?)],
            config: json!({"Entrypoint": ["/pause"]}),
        },
    ])
}

fn probe_files() -> Result<Vec<Entry>, Error> {
    let mut files = busybox_files()?;
    files.push(Entry::file("bin/probe", 0o755, read(binaries::probe()?)?));
    Ok(files)
}

fn busybox_files() -> Result<Vec<Entry>, Error> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .ok_or_else(|| Error::Unavailable("busybox-static is not installed".to_owned()))?;
    let applets =
        output::run(Command::new(busybox).arg("--list"), b"")?.ok("busybox --list")?.stdout;
    let mut entries: Vec<_> = [
        "bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "usr/bin", "usr/sbin", "sbin",
        "var",
    ]
    .into_iter()
    .map(|path| Entry::directory(path, 0o755))
    .collect();
    entries.push(Entry::directory("tmp", 0o1777));
    entries.push(Entry::directory("var/tmp", 0o1777));
    entries.push(Entry::file(
        "etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n",
    ));
    entries.push(Entry::file("etc/group", 0o644, "root:x:0:\nuser:x:1000:\n"));
    entries.push(Entry::file("bin/busybox", 0o755, read(Path::new(busybox))?));
    entries.extend(
        applets
            .lines()
            .filter(|applet| *applet != "busybox")
            .map(|applet| Entry::hard_link(&format!("bin/{applet}"), "bin/busybox")),
    );
    Ok(entries)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::io("read", path.display()))
}
