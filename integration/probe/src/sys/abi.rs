//! The other ways into an x86-64 kernel: `int 0x80` (i386).

use crate::errno::Errno;

/// i386 call numbers (arch/x86/entry/syscalls/syscall_32.tbl).
pub(crate) const I386_GETPID: u32 = 20;
pub(crate) const I386_SOCKETCALL: u32 = 102;
pub(crate) const I386_SOCKET: u32 = 359;

/// An i386 system call; a kernel without IA32 emulation answers with SIGSEGV.
#[cfg(target_arch = "x86_64")]
pub(crate) fn i386(nr: u32, args: [u32; 3]) -> Result<i32, Errno> {
    let [a, b, c] = args.map(u64::from);
    let result: u64;
    // SAFETY: rbx, which the compiler keeps for itself, is saved and restored around the trap; r8 to r11 are
    // declared lost (kernels before 4.17 clear them on this path). Callers pass numbers and low addresses that live.
    unsafe {
        core::arch::asm!(
            "xchg rbx, {a}",
            "int 0x80",
            "xchg rbx, {a}",
            a = inout(reg) a => _,
            inlateout("rax") u64::from(nr) => result,
            in("rcx") b,
            in("rdx") c,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // The 32-bit entry gives a 32-bit result.
    let result = result as u32 as i32;
    if (-4095..0).contains(&result) { Err(Errno(-result)) } else { Ok(result) }
}

/// Only x86-64 has this entry.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn i386(_nr: u32, _args: [u32; 3]) -> Result<i32, Errno> {
    Err(Errno(libc::ENOSYS))
}

/// Leaks `words` into memory below 2 GiB, where a 32-bit pointer reaches.
pub(crate) fn low_words(words: [u32; 3]) -> Result<u32, Errno> {
    #[cfg(target_arch = "x86_64")]
    const LOW: i32 = libc::MAP_32BIT;
    #[cfg(not(target_arch = "x86_64"))]
    const LOW: i32 = 0;
    // SAFETY: a fresh anonymous mapping, placed by the kernel; it is written once, within its page, and never unmapped.
    let address = unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | LOW,
            -1,
            0,
        );
        if page == libc::MAP_FAILED {
            return Err(super::call::last());
        }
        page.cast::<[u32; 3]>().write(words);
        page as u64
    };
    u32::try_from(address).map_err(|_| Errno(libc::ENOMEM))
}
