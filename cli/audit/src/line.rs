//! Records in the three forms in which they are met.

use crate::record::{Kind, MAX_TEXT, Record};

/// A message of the audit netlink socket: its type and its text.
#[must_use]
pub fn from_netlink(kind: u16, text: &[u8]) -> Option<Record> {
    // Some kernels send the string's end with it.
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    Record::read(Kind::of_number(kind)?, &text_of(text.get(..end)?)?)
}

/// A record of /dev/kmsg: `PRIORITY,SEQUENCE,TIME,FLAGS;audit: type=1326 audit(...): ...`.
///
/// What programs write to /dev/kmsg has another facility than the kernel's, which nobody can choose
/// (kernel/printk/printk.c, `devkmsg_write`), and is no record. Bytes that are not printable stand as `\xNN`, line ends too.
#[must_use]
pub fn from_kmsg(line: &[u8]) -> Option<Record> {
    let line = text_of(line)?;
    let (prefix, text) = line.split_once(';')?;
    let priority: u32 = prefix.split(',').next()?.parse().ok()?;
    if priority >> 3 != 0 {
        return None;
    }
    let text = text.lines().next()?;
    let (kind, text) = text.strip_prefix("audit: type=")?.split_once(' ')?;
    Record::read(Kind::of_number(kind.parse().ok()?)?, text)
}

/// A line of auditd's log: `type=SECCOMP msg=audit(...): ...`, after `node=NAME` where it has one, and before the names that auditd may
/// append after a 0x1d.
#[must_use]
pub fn from_file(line: &[u8]) -> Option<Record> {
    let line = text_of(line)?;
    let line = line.split('\u{1d}').next()?.trim_end();
    let line = match line.strip_prefix("node=") {
        Some(rest) => rest.split_once(' ')?.1,
        None => line,
    };
    let (kind, text) = line.strip_prefix("type=")?.split_once(' ')?;
    Record::read(Kind::of_name(kind)?, text.strip_prefix("msg=")?)
}

fn text_of(bytes: &[u8]) -> Option<String> {
    (bytes.len() <= MAX_TEXT).then(|| String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Stamp;

    const BODY: &str = "audit(1795371955.700:23959): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=12577 \
                        comm=\"probe\" exe=\"/probe\" sig=31 arch=c000003e syscall=442 compat=0 ip=0x7f \
                        code=0x80000000";

    #[test]
    fn one_record_in_three_forms_is_one_record() {
        let netlink = from_netlink(1326, BODY.as_bytes()).unwrap();
        assert_eq!(netlink.stamp, Stamp { millis: 1_795_371_955_700, serial: 23959 });
        assert_eq!(netlink.pid(), Some(12577));
        let kmsg = format!("5,1234,99999999,-;audit: type=1326 {BODY}\n SUBSYSTEM=x\n");
        assert_eq!(from_kmsg(kmsg.as_bytes()).as_ref(), Some(&netlink));
        for line in [
            format!("type=SECCOMP msg={BODY}\n"),
            format!("node=web-1 type=SECCOMP msg={BODY}\u{1d}ARCH=x86_64 SYSCALL=openat"),
            format!("type=UNKNOWN[1326] msg={BODY}"),
        ] {
            assert_eq!(from_file(line.as_bytes()).as_ref(), Some(&netlink), "{line}");
        }
        assert_eq!(from_netlink(1326, format!("{BODY}\0").as_bytes()).as_ref(), Some(&netlink));
    }

    #[test]
    fn what_programs_write_is_no_record() {
        // logger(1) and `echo > /dev/kmsg` have facility 1 (user) whatever they ask for.
        let forged = format!("13,1234,99999999,-;audit: type=1326 {BODY}\n");
        assert_eq!(from_kmsg(forged.as_bytes()), None);
        // A message within another's text.
        let within =
            format!("5,1,1,-;audit: type=1112 audit(1.000:1): msg='x\\x0aaudit: type=1326 {BODY}'");
        assert_eq!(from_kmsg(within.as_bytes()), None);
        let user = format!("type=USER_LOGIN msg=audit(1.000:1): msg='type=SECCOMP msg={BODY}'");
        assert_eq!(from_file(user.as_bytes()), None);
        assert_eq!(from_netlink(1112, BODY.as_bytes()), None);
    }

    #[test]
    fn a_stamp_is_read_strictly() {
        for stamp in
            ["1.2:3", "1.0000:3", ".000:3", "1.000:", "-1.000:3", "1.000:99999999999999999999"]
        {
            assert_eq!(
                from_netlink(1326, format!("audit({stamp}): pid=1").as_bytes()),
                None,
                "{stamp}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = (from_kmsg(&bytes), from_file(&bytes), from_netlink(1423, &bytes));
        }
    }
}
