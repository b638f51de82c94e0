//! The client's ends of FIFOs, as containerd's own client makes them.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use coaming_integration::task_api::Streams;
use coaming_integration::{Error, PATIENCE};
use nix::sys::stat::Mode;

use crate::stage::Stage;

/// Reads an output to its end.
pub(crate) struct Reader {
    /// Its path in the world.
    pub(crate) path: String,
    seen: PathBuf,
    read: Receiver<Vec<u8>>,
}

/// Writes an input.
pub(crate) struct Writer {
    /// Its path in the world.
    pub(crate) path: String,
    end: File,
}

impl Reader {
    pub(crate) fn open(stage: &Stage<'_>, name: &str) -> Result<Reader, Error> {
        let (path, seen) = make(stage, name)?;
        Ok(Reader::start(path, seen, |end, bytes| end.read_to_end(bytes)))
    }

    /// Reads a line, and closes its end.
    pub(crate) fn open_for_a_line(stage: &Stage<'_>, name: &str) -> Result<Reader, Error> {
        let (path, seen) = make(stage, name)?;
        Ok(Reader::start(path, seen, |end, bytes| BufReader::new(end).read_until(b'\n', bytes)))
    }

    /// The line, and another reader in the place of the one that has closed its end.
    pub(crate) fn line(self) -> Result<(String, Reader), Error> {
        let line = self.read.recv_timeout(PATIENCE);
        let line =
            line.map_err(|_| Error::Unavailable(format!("no line came over {}", self.path)))?;
        let next = Reader::start(self.path, self.seen, |end, bytes| end.read_to_end(bytes));
        Ok((String::from_utf8_lossy(&line).into_owned(), next))
    }

    fn start(
        path: String,
        seen: PathBuf,
        all: fn(&mut File, &mut Vec<u8>) -> std::io::Result<usize>,
    ) -> Reader {
        let (sender, read) = channel();
        let from = seen.clone();
        std::thread::spawn(move || {
            // It waits for the shim to open the other end.
            let mut bytes = Vec::new();
            if let Ok(mut end) = File::open(from) {
                let _ = all(&mut end, &mut bytes);
            }
            let _ = sender.send(bytes);
        });
        Reader { path, seen, read }
    }

    /// Both outputs to it: the stock shim opens whatever it is given, an empty path too, once one of them is a FIFO.
    pub(crate) fn streams(&self) -> Streams {
        Streams { stdout: self.path.clone(), stderr: self.path.clone(), ..Streams::default() }
    }

    /// All that was written, once nobody holds the other end: after the process's deletion.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Error> {
        // For an end that never was opened.
        drop(open(&self.seen, nix::libc::O_NONBLOCK));
        self.read
            .recv_timeout(PATIENCE)
            .map_err(|_| Error::Unavailable(format!("{} is still held open", self.path)))
    }

    pub(crate) fn text(self) -> Result<String, Error> {
        Ok(String::from_utf8_lossy(&self.finish()?).into_owned())
    }
}

impl Writer {
    pub(crate) fn open(stage: &Stage<'_>, name: &str) -> Result<Writer, Error> {
        let (path, seen) = make(stage, name)?;
        // Both ends, which does not wait for the shim and keeps what is written before it comes (fifo(7)).
        let end = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&seen)
            .map_err(|error| Error::Unavailable(format!("open {path}: {error}")))?;
        Ok(Writer { path, end })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.end
            .write_all(bytes)
            .map_err(|error| Error::Unavailable(format!("write to {}: {error}", self.path)))
    }
}

fn make(stage: &Stage<'_>, name: &str) -> Result<(String, PathBuf), Error> {
    let path = stage.path(name)?;
    let seen = stage.tasks.node().world().path(&path);
    nix::unistd::mkfifo(&seen, Mode::from_bits_truncate(0o600))
        .map_err(|error| Error::Unavailable(format!("make {path}: {error}")))?;
    Ok((path, seen))
}

fn open(path: &Path, flags: i32) -> std::io::Result<File> {
    OpenOptions::new().write(true).custom_flags(flags).open(path)
}
