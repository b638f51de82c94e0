//! An OCI image layout with several images in one tar (image-spec 1.1, image-layout.md), as `ctr images import` reads it.

use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// One image of one layer.
pub(crate) struct Image {
    pub(crate) name: &'static str,
    pub(crate) entries: Vec<Entry>,
    /// The `config` object of the image configuration.
    pub(crate) config: Value,
}

/// One file of a layer; `path` is relative.
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Directory,
    File(Vec<u8>),
    HardLink(PathBuf),
}

impl Entry {
    pub(crate) fn directory(path: &str, mode: u32) -> Entry {
        Entry { path: path.into(), mode, kind: Kind::Directory }
    }

    pub(crate) fn file(path: &str, mode: u32, contents: impl Into<Vec<u8>>) -> Entry {
        Entry { path: path.into(), mode, kind: Kind::File(contents.into()) }
    }

    /// Hard links in a layer need the mode of their target: containerd applies the link's own header to the inode.
    pub(crate) fn hard_link(path: &str, target: &str) -> Entry {
        Entry { path: path.into(), mode: 0o755, kind: Kind::HardLink(target.into()) }
    }
}

/// The layout as one tar. The same images give the same bytes.
pub(crate) fn layout(images: &[Image]) -> io::Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    let mut manifests = Vec::new();
    let mut written = Vec::new();
    for image in images {
        let layer = layer(&image.entries)?;
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": image.config,
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        if let Some(entry) = entry.as_object_mut() {
            // containerd's own annotation: the whole name (images/archive/reference.go, 1.6 to 2.x).
            entry.insert("annotations".to_owned(), json!({"io.containerd.image.name": image.name}));
        }
        manifests.push(entry);
        for blob in [layer, config, manifest] {
            let path = format!("blobs/sha256/{}", digest(&blob).trim_start_matches("sha256:"));
            if !written.contains(&path) {
                append(&mut tar, &Entry::file(&path, 0o644, blob))?;
                written.push(path);
            }
        }
    }
    append(&mut tar, &Entry::file("oci-layout", 0o644, r#"{"imageLayoutVersion":"1.0.0"}"#))?;
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests,
    });
    append(&mut tar, &Entry::file("index.json", 0o644, index.to_string()))?;
    tar.into_inner()
}

/// The files as one uncompressed layer.
pub(crate) fn layer(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for entry in entries {
        append(&mut tar, entry)?;
    }
    tar.into_inner()
}

fn append(tar: &mut Builder<Vec<u8>>, entry: &Entry) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    match &entry.kind {
        Kind::Directory => {
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, &entry.path, io::empty())
        }
        Kind::File(contents) => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(contents.len() as u64);
            tar.append_data(&mut header, &entry.path, contents.as_slice())
        }
        Kind::HardLink(target) => {
            header.set_entry_type(EntryType::Link);
            tar.append_link(&mut header, &entry.path, target)
        }
    }
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn every_digest_in_the_layout_is_that_of_a_blob_in_it() {
        let entries = || {
            vec![
                Entry::directory("bin", 0o755),
                Entry::file("bin/a", 0o755, "a"),
                Entry::hard_link("bin/b", "bin/a"),
            ]
        };
        let images = [
            Image {
                name: "localhost/one:1",
                entries: entries(),
                config: json!({"Cmd": ["/bin/a"]}),
            },
            Image {
                name: "localhost/two:1",
                entries: entries(),
                config: json!({"Cmd": ["/bin/b"]}),
            },
        ];
        let bytes = layout(&images).unwrap();
        let mut blobs = std::collections::BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).unwrap();
            if let Some(hex) = path.strip_prefix("blobs/sha256/") {
                assert_eq!(digest(&contents), format!("sha256:{hex}"));
            }
            assert!(blobs.insert(path, contents).is_none(), "a file twice");
        }
        let parse = |blob: &[u8]| serde_json::from_slice::<Value>(blob).unwrap();
        let find = |descriptor: &Value| {
            let blob = &blobs
                [&format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"))];
            assert_eq!(descriptor["size"], blob.len());
            blob
        };
        let index = parse(&blobs["index.json"]);
        assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
        for manifest in index["manifests"].as_array().unwrap() {
            let manifest = parse(find(manifest));
            let config = parse(find(&manifest["config"]));
            assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
            find(&manifest["layers"][0]);
        }
    }
}
