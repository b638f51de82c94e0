//! The socket of the task service: its name, and who of several may bind it.
//!
//! The name says whose it is: one shim serves a group of containers, and every `start` of the group comes to the same
//! name. The first binds it and hands it to the daemon; the others find it served. Binding, listening and clearing away
//! a dead one are done under a lock on the folder, so that nobody takes for dead what is about to listen.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};
use sha2::{Digest, Sha256};

/// Where containerd's shims listen unless it says otherwise (containerd, defaults.DefaultStateDir).
const DIRECTORY: &str = "/run/containerd/s";
/// Sets our names apart from those of the Go shim: were they the same, a container added to a pod that the Go shim
/// serves would be started by the Go shim, past the wrapper.
const OURS: &str = "coaming";
/// sockaddr_un's path, less what containerd leaves free (pkg/shim/util_unix.go).
const LONGEST_PATH: usize = 106;

/// Where the shim of a group listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(PathBuf);

/// What came of an attempt to listen.
#[derive(Debug)]
pub(crate) enum Claim {
    /// The socket is ours to serve.
    Bound(UnixListener),
    /// The group's shim is there already.
    Served,
}

impl Address {
    /// The address for this containerd, namespace and group.
    pub(crate) fn new(
        directory: Option<&str>,
        containerd: &str,
        namespace: &str,
        group: &str,
    ) -> Address {
        let mut digest = Sha256::new();
        // None of these holds a NUL, so that no two groups give one text.
        for part in [OURS, containerd, namespace, group] {
            digest.update(part);
            digest.update([0]);
        }
        let name: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Address(Path::new(directory.unwrap_or(DIRECTORY)).join(name))
    }

    /// An address as it was written into a bundle; none where it is not a socket's of ours.
    pub(crate) fn parse(url: &str) -> Option<Address> {
        let path = Path::new(url.strip_prefix("unix://")?);
        let name = path.file_name()?.to_str()?;
        let digest = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        (digest && path.is_absolute()).then(|| Address(path.to_owned()))
    }

    /// As containerd dials it.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.0.display())
    }

    /// Listens, if nobody else does.
    pub(crate) fn claim(&self) -> io::Result<Claim> {
        if !self.0.is_absolute() || self.0.as_os_str().len() > LONGEST_PATH {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a socket's path is absolute and at most {LONGEST_PATH} bytes long"),
            ));
        }
        let _lock = self.lock()?;
        match self.bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            other => return other.map(Claim::Bound),
        }
        if self.is_served()? {
            return Ok(Claim::Served);
        }
        std::fs::remove_file(&self.0)?;
        self.bind().map(Claim::Bound)
    }

    /// Removes the socket, of which the caller is the one who serves it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let _lock = self.lock()?;
        unless_missing(std::fs::remove_file(&self.0))
    }

    /// Removes the socket if nobody serves it any more.
    pub(crate) fn remove_if_dead(&self) -> io::Result<()> {
        match std::fs::symlink_metadata(&self.0) {
            Ok(found) if found.file_type().is_socket() => {}
            Ok(_) => return Ok(()),
            Err(error) => return unless_missing(Err(error)),
        }
        let _lock = self.lock()?;
        match self.is_served() {
            Ok(false) => unless_missing(std::fs::remove_file(&self.0)),
            Ok(true) => Ok(()),
            Err(error) => unless_missing(Err(error)),
        }
    }

    fn lock(&self) -> io::Result<Flock<File>> {
        let directory = self.0.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        Flock::lock(File::open(directory)?, FlockArg::LockExclusive)
            .map_err(|(_, errno)| errno.into())
    }

    /// For nobody but root from the first moment on: the file takes its mode from the socket (net/unix/af_unix.c,
    /// `unix_bind_bsd`). Nothing waits in a queue that is longer than a burst of containerd's.
    fn bind(&self) -> io::Result<UnixListener> {
        let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        fchmod(&made, Mode::S_IRUSR | Mode::S_IWUSR)?;
        bind(made.as_raw_fd(), &UnixAddr::new(&self.0)?)?;
        listen(&made, Backlog::new(128)?)?;
        Ok(made.into())
    }

    /// Whether there is a listener. Never waits: a full queue is a listener too.
    fn is_served(&self) -> io::Result<bool> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let probe = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        match connect(probe.as_raw_fd(), &UnixAddr::new(&self.0)?) {
            Ok(()) | Err(Errno::EAGAIN) => Ok(true),
            Err(Errno::ECONNREFUSED) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl From<&UnixListener> for Address {
    /// The address that this listener was bound to.
    fn from(listener: &UnixListener) -> Self {
        let local = listener.local_addr().ok();
        Address(local.and_then(|a| a.as_pathname().map(Path::to_owned)).unwrap_or_default())
    }
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn address(directory: &Path, group: &str) -> Address {
        Address::new(directory.to_str(), "/run/containerd/containerd.sock", "k8s.io", group)
    }

    #[test]
    fn one_name_for_each_group() {
        let of = |parts: [&str; 3]| Address::new(None, parts[0], parts[1], parts[2]);
        let one = of(["/run/c.sock", "k8s.io", "pod"]);
        assert_eq!(one, of(["/run/c.sock", "k8s.io", "pod"]));
        for other in [
            ["/run/d.sock", "k8s.io", "pod"],
            ["/run/c.sock", "moby", "pod"],
            ["/run/c.sock", "k8s.io", "p"],
        ] {
            assert_ne!(one, of(other));
        }
        let url = one.url();
        assert!(url.starts_with("unix:///run/containerd/s/"), "{url}");
        assert_eq!(url.len(), "unix:///run/containerd/s/".len() + 64);
        assert_eq!(Address::parse(&url), Some(one));
    }

    #[test]
    fn only_our_addresses_are_taken_from_a_bundle() {
        for url in ["", "unix:///etc/passwd", "/run/containerd/s/abc", "unix://s/x", "vsock://2:3"]
        {
            assert_eq!(Address::parse(url), None, "{url}");
        }
    }

    #[test]
    fn the_first_binds_and_the_others_find_it_served() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("a/s");
        let address = address(&folder, "pod");
        let Claim::Bound(listener) = address.claim().unwrap() else { panic!("not bound") };
        assert_eq!(Address::from(&listener), address);
        assert!(matches!(address.claim().unwrap(), Claim::Served));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&address.0), 0o600);
        assert_eq!(mode(&folder), 0o700);
        address.remove_if_dead().unwrap();
        assert!(address.0.exists());
        // It died, and its socket stayed.
        drop(listener);
        assert!(address.0.exists());
        let Claim::Bound(listener) = address.claim().unwrap() else { panic!("not taken over") };
        drop(listener);
        address.remove_if_dead().unwrap();
        assert!(!address.0.exists());
        address.remove_if_dead().unwrap();
        address.remove().unwrap();
    }

    #[test]
    fn a_full_queue_is_alive() {
        let directory = tempfile::tempdir().unwrap();
        let address = address(directory.path(), "busy");
        let Claim::Bound(_listener) = address.claim().unwrap() else { panic!("not bound") };
        // More than the queue of 128: the last attempts find it full.
        let mut clients = Vec::new();
        for _ in 0..200 {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let client = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
            let _ = connect(client.as_raw_fd(), &UnixAddr::new(&address.0).unwrap());
            clients.push(client);
        }
        assert!(matches!(address.claim().unwrap(), Claim::Served));
    }

    #[test]
    fn many_at_once_agree_on_one() {
        let directory = tempfile::tempdir().unwrap();
        let address = address(directory.path(), "pod");
        let claims: Vec<Claim> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..16).map(|_| scope.spawn(|| address.claim().unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let bound = claims.iter().filter(|claim| matches!(claim, Claim::Bound(_))).count();
        assert_eq!(bound, 1);
    }

    #[test]
    fn a_path_too_long_is_refused() {
        let long = Address::new(Some(&format!("/tmp/{}", "x".repeat(60))), "a", "b", "c");
        assert_eq!(long.claim().unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let relative = Address::new(Some("s"), "a", "b", "c");
        assert_eq!(relative.claim().unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
