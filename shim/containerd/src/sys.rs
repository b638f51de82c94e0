//! What needs unsafe code.
#![allow(unsafe_code)]

#[cfg(test)]
mod tests;

// ---- Descriptors, terminals and pipes (stdio) ----

/// What one message on a unix socket carried: its descriptors, and whether some were cut off.
pub(crate) struct Received {
    pub(crate) descriptors: Vec<std::os::fd::OwnedFd>,
    pub(crate) truncated: bool,
}

/// Receives one message and owns each descriptor that came with it (close-on-exec from the start).
pub(crate) fn receive_descriptors(
    socket: std::os::fd::BorrowedFd<'_>,
) -> std::io::Result<Received> {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

    // The runtime names the terminal in the payload; the name is of no use here.
    let mut payload = [0_u8; 4096];
    // Room for as many as one message can carry (SCM_MAX_FD, unix(7)): those that are too many are seen and closed. What is
    // cut off for want of room makes an error of the whole message, and the descriptors before it would stay open.
    let mut control = nix::cmsg_space!([std::os::fd::RawFd; 253]);
    let mut parts = [std::io::IoSliceMut::new(&mut payload)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let truncated = message.flags.contains(MsgFlags::MSG_CTRUNC);
    let mut descriptors = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            for number in numbers {
                // SAFETY: the kernel has just installed this descriptor for this message; nobody else knows its number.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    Ok(Received { descriptors, truncated })
}

/// Sets a terminal's size in characters.
pub(crate) fn set_window_size(
    terminal: std::os::fd::BorrowedFd<'_>,
    width: u16,
    height: u16,
) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;

    nix::ioctl_write_ptr_bad!(tiocswinsz, nix::libc::TIOCSWINSZ, nix::libc::winsize);
    let size = nix::libc::winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open for the borrow, and the kernel only reads the winsize, which outlives the call.
    unsafe { tiocswinsz(terminal.as_raw_fd(), &size) }?;
    Ok(())
}

/// The number of the pseudo-terminal whose controlling side this is; an error for anything else.
pub(crate) fn pseudo_terminal_number(
    terminal: std::os::fd::BorrowedFd<'_>,
) -> std::io::Result<u32> {
    use std::os::fd::AsRawFd;

    nix::ioctl_read_bad!(tiocgptn, nix::libc::TIOCGPTN, nix::libc::c_uint);
    let mut number: nix::libc::c_uint = 0;
    // SAFETY: the descriptor is open for the borrow, and TIOCGPTN writes one unsigned int (ioctl_tty(2)).
    unsafe { tiocgptn(terminal.as_raw_fd(), &mut number) }?;
    Ok(number)
}

/// How many bytes a pipe or fifo holds that nobody has read.
pub(crate) fn unread_bytes(pipe: std::os::fd::BorrowedFd<'_>) -> std::io::Result<usize> {
    use std::os::fd::AsRawFd;

    nix::ioctl_read_bad!(fionread, nix::libc::FIONREAD, nix::libc::c_int);
    let mut count: nix::libc::c_int = 0;
    // SAFETY: the descriptor is open for the borrow, and FIONREAD writes one int (pipe(7)).
    unsafe { fionread(pipe.as_raw_fd(), &mut count) }?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Gives a command these descriptors as 3, 4, 5 and so on. What comes back keeps those numbers taken in this process and
/// is to be held until the command has been spawned: the standard library's own pipe to the child, which reports a
/// failing exec, must not be given one of the numbers that the child overwrites.
pub(crate) fn pass_from_three(
    command: &mut std::process::Command,
    descriptors: Vec<std::os::fd::OwnedFd>,
) -> std::io::Result<Vec<std::os::fd::OwnedFd>> {
    use std::os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    };

    use nix::fcntl::{FcntlArg, fcntl};

    let first: RawFd = 3;
    let beyond = first.saturating_add(RawFd::try_from(descriptors.len()).unwrap_or(RawFd::MAX));
    let mut moved = Vec::with_capacity(descriptors.len());
    for descriptor in &descriptors {
        let number = fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(beyond))?;
        // SAFETY: the descriptor was made by the call above, and nothing else owns it.
        moved.push(unsafe { OwnedFd::from_raw_fd(number) });
    }
    let mut places = descriptors;
    // Whatever is free between 3 and `beyond` is filled, and stays so for as long as the caller holds it.
    while let Some(any) = moved.first() {
        let number = fcntl(any, FcntlArg::F_DUPFD_CLOEXEC(first))?;
        // SAFETY: as above.
        let place = unsafe { OwnedFd::from_raw_fd(number) };
        if number >= beyond {
            break;
        }
        places.push(place);
    }
    let install = move || {
        for (target, source) in (first..).zip(&moved) {
            // SAFETY: dup2 is async-signal-safe; the sources lie at or above `beyond`, so no dup2 overwrites a later source.
            if unsafe { nix::libc::dup2(source.as_raw_fd(), target) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only calls dup2 and reads errno; it neither allocates nor locks.
    unsafe { command.pre_exec(install) };
    Ok(places)
}

// ---- Children and signals (reaper, runtime) ----

/// Reaps one child that has ended: any (`None`) or this one. The raw wait status comes back, as nix's `WaitStatus` has no
/// place for a child that a real-time signal ended, and would lose it.
pub(crate) fn reap(child: Option<i32>) -> nix::Result<Option<(i32, i32)>> {
    let mut status: nix::libc::c_int = 0;
    // SAFETY: waitpid writes one int, to which the pointer is valid.
    let pid =
        unsafe { nix::libc::waitpid(child.unwrap_or(-1), &raw mut status, nix::libc::WNOHANG) };
    match nix::errno::Errno::result(pid)? {
        0 => Ok(None),
        pid => Ok(Some((pid, status))),
    }
}

/// kill(2) with any signal number, also a real-time one, which nix's `Signal` does not have.
pub(crate) fn kill(pid: i32, signal: i32) -> nix::Result<()> {
    // SAFETY: kill takes two numbers and touches no memory of this process.
    nix::errno::Errno::result(unsafe { nix::libc::kill(pid, signal) }).map(drop)
}

/// The command is killed when the thread that spawns it ends: spawn it from the main thread only (prctl(2),
/// PR_SET_PDEATHSIG). The setting survives execve, and is not inherited by the command's own children.
pub(crate) fn die_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;

    let parent = nix::unistd::getpid();
    let arrange = move || {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        // The parent may have died before the call above; then nobody would ever send the signal.
        if nix::unistd::getppid() != parent {
            return Err(std::io::Error::from_raw_os_error(nix::libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only calls prctl and getppid; it neither allocates nor locks.
    unsafe { command.pre_exec(arrange) };
}

/// What owns one descriptor for as long as it lives, and always answers with that one.
pub(crate) trait OneDescriptor: std::os::fd::AsRawFd {}
impl OneDescriptor for std::os::fd::OwnedFd {}
impl OneDescriptor for std::fs::File {}
impl OneDescriptor for std::sync::Arc<std::fs::File> {}
impl OneDescriptor for std::os::unix::net::UnixListener {}
impl OneDescriptor for std::os::unix::net::UnixStream {}

/// Has the event loop watch a (non-blocking) descriptor.
pub(crate) fn watch<T: OneDescriptor>(
    owner: T,
    interest: tokio::io::Interest,
) -> std::io::Result<tokio::io::unix::AsyncFd<T>> {
    // SAFETY: the types above keep the descriptor open and the same until they are dropped, and `AsyncFd` owns the value.
    let watched = unsafe { tokio::io::unix::AsyncFd::register_with_interest(owner, interest) };
    watched.map_err(Into::into)
}

// ---- The daemon (verbs, server) ----

/// Takes over the listening socket that `start` handed on as descriptor 3, as the Go shim does, and closes whatever else
/// was inherited. To be called once, before anything is opened.
pub(crate) fn inherited_listener() -> std::io::Result<std::os::unix::net::UnixListener> {
    use std::os::fd::{BorrowedFd, FromRawFd};

    use nix::fcntl::{F_SETFD, FdFlag, fcntl};
    use nix::sys::socket::{getsockopt, sockopt::AcceptConn};

    const INHERITED: std::os::fd::RawFd = 3;
    // SAFETY: the borrow lasts for the two calls below, which answer EBADF where nothing is open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(INHERITED) };
    fcntl(descriptor, F_SETFD(FdFlag::FD_CLOEXEC))?;
    if !getsockopt(&descriptor, AcceptConn)? {
        return Err(nix::errno::Errno::ENOTSOCK.into());
    }
    // SAFETY: nothing has been opened yet, so that nobody here owns any of these.
    unsafe {
        // By its number: the libc crate has no function of this name for musl.
        nix::libc::syscall(
            nix::libc::SYS_close_range,
            (INHERITED + 1).cast_unsigned(),
            nix::libc::c_uint::MAX,
            0,
        )
    };
    // SAFETY: descriptor 3 is a listening socket that this program did not open, so nothing else here owns it.
    Ok(unsafe { std::os::unix::net::UnixListener::from_raw_fd(INHERITED) })
}

/// Gives this process group a core scheduling cookie of its own, which children inherit: the hyperthreads of a core are
/// then shared with nobody outside (prctl(2), PR_SCHED_CORE).
pub(crate) fn create_core_scheduling_group() -> nix::Result<()> {
    /// From linux/pid.h: which processes are meant.
    const PIDTYPE_PGID: nix::libc::c_ulong = 2;
    /// This process.
    const SELF: nix::libc::c_ulong = 0;
    // SAFETY: with PR_SCHED_CORE_CREATE the last argument must be null, and no memory is touched.
    let result = unsafe {
        nix::libc::prctl(
            nix::libc::PR_SCHED_CORE,
            nix::libc::PR_SCHED_CORE_CREATE,
            SELF,
            PIDTYPE_PGID,
            std::ptr::null::<nix::libc::c_void>(),
        )
    };
    nix::errno::Errno::result(result).map(drop)
}

/// Whether [`disable_huge_pages`] changed the setting.
static HUGE_PAGES_DISABLED: std::sync::atomic::AtomicBool =
    std::sync::atomic::AtomicBool::new(false);

/// This process gets no transparent huge pages: one of them is more than all it needs. The setting is inherited, so that
/// every child must be given [`huge_pages_as_before`].
pub(crate) fn disable_huge_pages() -> nix::Result<()> {
    if !nix::sys::prctl::get_thp_disable()? {
        nix::sys::prctl::set_thp_disable(true)?;
        HUGE_PAGES_DISABLED.store(true, std::sync::atomic::Ordering::Relaxed);
    }
    Ok(())
}

/// The command, and what it starts, gets huge pages as this process did before [`disable_huge_pages`].
pub(crate) fn huge_pages_as_before(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;

    if HUGE_PAGES_DISABLED.load(std::sync::atomic::Ordering::Relaxed) {
        let restore = || Ok(nix::sys::prctl::set_thp_disable(false)?);
        // SAFETY: between fork and exec the closure only calls prctl; it neither allocates nor locks.
        unsafe { command.pre_exec(restore) };
    }
}

// ---- Mounts ----

/// The size of a page, which is as long as mount(2) lets the options be.
pub(crate) fn page_size() -> usize {
    // SAFETY: sysconf only reads a number.
    let size = unsafe { nix::libc::sysconf(nix::libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().filter(|size| *size > 0).unwrap_or(4096)
}

/// A child that does nothing but be in a new user namespace, until it is dropped.
pub(crate) struct NamespaceHolder {
    pid: nix::libc::pid_t,
    /// Of the child, also after somebody else has reaped it and its pid is another's.
    handle: std::os::fd::OwnedFd,
}

impl NamespaceHolder {
    /// Makes the namespace; who is who in it is still to be written.
    pub(crate) fn new() -> std::io::Result<Self> {
        use std::io::Read;
        use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

        let (mut reader, writer) = std::io::pipe()?;
        let report = writer.as_raw_fd();
        // SAFETY: the child makes system calls only, of which each is async-signal-safe, and never returns from this block.
        let pid = unsafe {
            let pid = nix::libc::fork();
            if pid == 0 {
                nix::libc::prctl(nix::libc::PR_SET_PDEATHSIG, nix::libc::SIGKILL);
                let made = nix::libc::unshare(nix::libc::CLONE_NEWUSER);
                let error = if made == 0 { 0 } else { *nix::libc::__errno_location() };
                let bytes = error.to_ne_bytes();
                nix::libc::write(report, bytes.as_ptr().cast(), bytes.len());
                if made == 0 {
                    loop {
                        nix::libc::pause();
                    }
                }
                nix::libc::_exit(1);
            }
            pid
        };
        if pid < 0 {
            return Err(std::io::Error::last_os_error());
        }
        drop(writer);
        // SAFETY: pidfd_open takes two numbers. The child cannot have been reaped: it ends by being killed, or after it
        // has reported an error, which is read below.
        let handle = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, 0) };
        let handle = RawFd::try_from(handle).map_err(std::io::Error::other)?;
        if handle < 0 {
            let error = std::io::Error::last_os_error();
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            );
            return Err(error);
        }
        // SAFETY: the kernel has just made this descriptor for us.
        let handle = unsafe { OwnedFd::from_raw_fd(handle) };
        let holder = NamespaceHolder { pid, handle };
        let mut error = [0_u8; 4];
        reader.read_exact(&mut error)?;
        match i32::from_ne_bytes(error) {
            0 => Ok(holder),
            error => Err(std::io::Error::from_raw_os_error(error)),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }
}

impl Drop for NamespaceHolder {
    fn drop(&mut self) {
        use std::os::fd::{AsFd, AsRawFd};

        use nix::sys::wait::{Id, WaitPidFlag, waitid};

        // SAFETY: the descriptor is open, no information on the signal is passed, and no memory is touched.
        unsafe {
            nix::libc::syscall(
                nix::libc::SYS_pidfd_send_signal,
                self.handle.as_raw_fd(),
                nix::libc::SIGKILL,
                std::ptr::null::<nix::libc::siginfo_t>(),
                0,
            );
        }
        // Whoever reaps it first; an interrupted wait is repeated.
        while waitid(Id::PIDFd(self.handle.as_fd()), WaitPidFlag::WEXITED)
            == Err(nix::errno::Errno::EINTR)
        {}
    }
}

/// A copy of the mount at a place, attached to nothing; with what is mounted below it or without.
pub(crate) fn copy_of_mount(
    place: std::os::fd::BorrowedFd<'_>,
    with_mounts_below: bool,
) -> std::io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

    let recursive = if with_mounts_below { nix::libc::AT_RECURSIVE } else { 0 };
    let flags = nix::libc::OPEN_TREE_CLONE
        | nix::libc::OPEN_TREE_CLOEXEC
        | (nix::libc::AT_EMPTY_PATH | recursive).cast_unsigned();
    // SAFETY: the descriptor is open for the borrow, and the path is a literal C string.
    let made = unsafe {
        nix::libc::syscall(nix::libc::SYS_open_tree, place.as_raw_fd(), c"".as_ptr(), flags)
    };
    let number = RawFd::try_from(made).map_err(std::io::Error::other)?;
    if number < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Maps the owners of an unattached mount's files by a user namespace, and makes it private and, if asked, read-only.
pub(crate) fn map_owners(
    tree: std::os::fd::BorrowedFd<'_>,
    namespace: std::os::fd::BorrowedFd<'_>,
    read_only: bool,
    with_mounts_below: bool,
) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;

    let recursive = if with_mounts_below { nix::libc::AT_RECURSIVE } else { 0 };
    let read_only = if read_only { nix::libc::MOUNT_ATTR_RDONLY } else { 0 };
    let attributes = nix::libc::mount_attr {
        attr_set: nix::libc::MOUNT_ATTR_IDMAP | read_only,
        attr_clr: 0,
        propagation: nix::libc::MS_PRIVATE,
        userns_fd: u64::from(namespace.as_raw_fd().unsigned_abs()),
    };
    // SAFETY: both descriptors are open for the borrows, and the kernel only reads the struct, whose size is given.
    let result = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            nix::libc::AT_EMPTY_PATH | recursive,
            &raw const attributes,
            size_of::<nix::libc::mount_attr>(),
        )
    };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// Attaches an unattached mount at a place.
pub(crate) fn attach_mount(
    tree: std::os::fd::BorrowedFd<'_>,
    place: std::os::fd::BorrowedFd<'_>,
) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;

    // SAFETY: both descriptors are open for the borrows, and the paths are literal C strings.
    let result = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            place.as_raw_fd(),
            c"".as_ptr(),
            nix::libc::MOVE_MOUNT_F_EMPTY_PATH | nix::libc::MOVE_MOUNT_T_EMPTY_PATH,
        )
    };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
