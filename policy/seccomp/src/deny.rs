//! Profiles that allow everything but a few things.

use std::collections::BTreeSet;

use super::action::EPERM;
use super::profile::{Condition, Rule, Test};
use super::{Action, Arch, Profile, SeccompError, syscalls};

/// A default-ALLOW profile that answers EPERM to the named syscalls and to `socket` and `socketpair` for the given
/// address families, on the native architecture and its 32-bit companion; x32 is left out, so that it is killed.
///
/// The family is held against the lower half of the argument, as the kernel does (net/socket.c takes an int).
///
/// On i386 `socketcall` passes the family behind a pointer that no filter can read. Any refused family therefore
/// refuses `socketcall(SYS_SOCKET)` altogether there. C libraries since about 2016 (glibc 2.23) use the direct
/// syscall; Go programs built for 386 do not, and lose sockets.
///
/// # Errors
/// [`SeccompError::UnknownSyscall`] for a name that libseccomp does not know, with a suggestion.
pub fn deny_profile(names: &[&str], families: &[u64]) -> Result<Profile, SeccompError> {
    if let Some(name) = names.iter().find(|name| !syscalls::is_known(name)) {
        let hint = syscalls::hint(name);
        return Err(SeccompError::UnknownSyscall { rule: 0, name: (*name).to_owned(), hint });
    }
    let action = Action::Errno(EPERM);
    let mut rules = Vec::new();
    if !names.is_empty() {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        rules.push(Rule { names, action, conditions: Vec::new() });
    }
    rules.extend(families.iter().map(|family| Rule {
        names: vec!["socket".to_owned(), "socketpair".to_owned()],
        action,
        conditions: vec![Condition {
            index: 0,
            test: Test::MaskedEq { mask: 0xffff_ffff, value: *family },
        }],
    }));
    Ok(Profile {
        default: Action::Allow,
        architectures: companions(),
        flags: None,
        listener: None,
        rules,
    })
}

/// The native architecture and the 32-bit one that its kernel also runs; without x32.
fn companions() -> BTreeSet<Arch> {
    let native = Arch::native();
    let other = match native {
        Arch::X86_64 => Some(Arch::X86),
        Arch::Aarch64 => Some(Arch::Arm),
        Arch::S390X => Some(Arch::S390),
        _ => None,
    };
    [native].into_iter().chain(other).collect()
}
