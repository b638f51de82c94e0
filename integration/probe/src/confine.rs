//! `probe under-... <command>`: the same command under a simple denial, to see an attempt's other outcome.

use crate::attempts::identity;
use crate::errno::Errno;
use crate::sys::filter;

/// For `probe list`.
pub(crate) const LIST: &[(&str, &str, &str)] = &[
    (
        "under-seccomp",
        "[i386:|x32:]<nr> <errno|kill> <command...>",
        "the command with one system call answered so",
    ),
    ("under-no-caps", "<command...>", "the command without any capability, bounding set empty"),
    ("under-nnp", "<command...>", "the command with no_new_privs"),
    ("under-landlock", "<command...>", "the command allowed to read and execute below /, no more"),
    ("as-nobody", "<command...>", "the command as uid and gid 65534"),
];

/// Confines this process as `how` says, and gives what is left of the command line. Errors are usage errors.
pub(crate) fn confine<'a>(how: &str, args: &'a [String]) -> Result<&'a [String], String> {
    let failed = |errno: Errno| format!("{how} failed: {errno}");
    match how {
        "under-seccomp" => {
            let [rule, action, rest @ ..] = args else {
                return Err("usage: probe under-seccomp <nr> <errno|kill> <command...>".to_owned());
            };
            let (arch, nr) = call_of(rule)?;
            let action = action_of(action)?;
            filter::no_new_privs()
                .and_then(|()| filter::deny_call(arch, nr, action))
                .map_err(failed)?;
            Ok(rest)
        }
        "under-no-caps" => identity::drop_all_capabilities().map(|()| args).map_err(failed),
        "under-nnp" => filter::no_new_privs().map(|()| args).map_err(failed),
        "under-landlock" => filter::landlock().map(|()| args).map_err(failed),
        "as-nobody" => identity::become_nobody().map(|()| args).map_err(failed),
        _ => Err(format!("there is no {how}")),
    }
}

/// "101", "i386:102" or "x32:39" as an audit architecture and a call number.
fn call_of(rule: &str) -> Result<(u32, u32), String> {
    const X32_BIT: u32 = 0x4000_0000;
    let (arch, bit, number) = match rule.split_once(':') {
        Some(("i386", number)) => (filter::I386, 0, number),
        Some(("x32", number)) => (filter::X86_64, X32_BIT, number),
        Some((other, _)) => return Err(format!("there is no architecture {other}")),
        None => (filter::X86_64, 0, rule),
    };
    let number: u32 = number.parse().map_err(|_| format!("{number} is no call number"))?;
    Ok((arch, number | bit))
}

/// "EPERM", "1" or "kill" as a seccomp return value.
fn action_of(action: &str) -> Result<u32, String> {
    if action == "kill" {
        return Ok(libc::SECCOMP_RET_KILL_PROCESS);
    }
    let number = Errno::named(action)
        .map(|Errno(number)| number)
        .or_else(|| action.parse().ok())
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| *number < 4096)
        .ok_or_else(|| format!("{action} is no error number"))?;
    Ok(libc::SECCOMP_RET_ERRNO | number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_its_architecture() {
        assert_eq!(call_of("101"), Ok((filter::X86_64, 101)));
        assert_eq!(call_of("i386:102"), Ok((filter::I386, 102)));
        assert_eq!(call_of("x32:39"), Ok((filter::X86_64, 0x4000_0027)));
        assert!(call_of("mips:1").is_err());
        assert!(call_of("mount").is_err());
    }

    #[test]
    fn an_action_is_a_name_or_a_number() {
        assert_eq!(action_of("EPERM"), action_of("1"));
        assert_eq!(action_of("kill"), Ok(libc::SECCOMP_RET_KILL_PROCESS));
        assert!(action_of("-1").is_err());
    }
}
