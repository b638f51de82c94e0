//! A library of an image: what `LD_PRELOAD` brings into a program that is linked dynamically.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

const SOURCE: &str = "#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void run(void)\n\
                      { close(open(\"/run/preloaded\", O_CREAT | O_WRONLY, 0600)); }\n";

/// The library, built once. By the compiler driver that rustc links with.
pub(crate) fn library() -> &'static Path {
    static BUILT: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("library.c"), SOURCE).unwrap();
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o", "library.so", "library.c"])
            .current_dir(folder.path())
            .status()
            .unwrap();
        assert!(built.success());
        folder
    });
    static PATH: OnceLock<std::path::PathBuf> = OnceLock::new();
    PATH.get_or_init(|| folder.path().join("library.so"))
}
