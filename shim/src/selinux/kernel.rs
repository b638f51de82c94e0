//! Questions to the kernel's own policy, through selinuxfs (security/selinux/selinuxfs.c): no guess from
//! names, and no library. Each question is one write, and its answer one read.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Where selinuxfs is mounted (libselinux, `selinuxfs_exits`).
const SELINUXFS: &str = "/sys/fs/selinux";
/// The longest answer, in bytes: a context of 1024 categories, each on its own.
const MAX_ANSWER: u64 = 64 * 1024;
/// `flags` of an answer: the source's type is permissive (`AVD_FLAGS_PERMISSIVE`).
const PERMISSIVE: u32 = 1;

/// The kernel's SELinux.
#[derive(Debug, Clone)]
pub struct Kernel {
    root: PathBuf,
}

impl Kernel {
    /// Nothing where selinuxfs is not mounted, or no policy is loaded.
    pub fn here() -> Option<Kernel> {
        let root = PathBuf::from(SELINUXFS);
        root.join("enforce").exists().then_some(Kernel { root })
    }

    /// Whether denials are denials; what cannot be read does not enforce.
    pub fn enforces(&self) -> bool {
        fs::read_to_string(self.root.join("enforce")).is_ok_and(|text| text.trim() == "1")
    }

    /// Whether the policy knows a context.
    ///
    /// # Errors
    /// The kernel would not say.
    pub fn knows(&self, context: &str) -> io::Result<bool> {
        match self.ask("context", context) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the policy allows a permission, constraints included. Of a class or permission that the
    /// policy does not have it is as the policy says of all such.
    ///
    /// # Errors
    /// The kernel would not say: a context is unknown, or the policy forbids the question
    /// (`security: compute_av`).
    pub fn allows(
        &self,
        source: &str,
        target: &str,
        class: &str,
        permission: &str,
    ) -> io::Result<bool> {
        let Some(bit) = self.bit(class, permission)? else {
            return self.number("deny_unknown").map(|deny| deny == 0);
        };
        self.vector(source, target, class).map(|(allowed, _)| allowed & bit != 0)
    }

    /// Whether a class and permission are the policy's at all.
    pub fn has(&self, class: &str, permission: &str) -> bool {
        self.bit(class, permission).is_ok_and(|bit| bit.is_some())
    }

    /// Whether the type of a context is one for which nothing is denied (`semanage permissive`).
    ///
    /// # Errors
    /// As of [`Kernel::allows`].
    pub fn is_permissive(&self, context: &str) -> io::Result<bool> {
        self.vector(context, context, "process").map(|(_, flags)| flags & PERMISSIVE != 0)
    }

    /// The context of an object that a process makes, or of itself where the class is `process` and the
    /// target a program that it executes.
    ///
    /// # Errors
    /// As of [`Kernel::allows`].
    pub fn create(&self, source: &str, target: &str, class: &str) -> io::Result<String> {
        let index = self.number(&format!("class/{class}/index"))?;
        self.ask("create", &format!("{source} {target} {index}"))
    }

    /// The context that objects of a kind have before any policy says otherwise (`kernel`, `security`).
    ///
    /// # Errors
    /// There is none.
    pub fn initial(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join("initial_contexts").join(name)).map(trimmed)
    }

    /// Whether a capability of policies is in force (`nnp_nosuid_transition`).
    pub fn capability(&self, name: &str) -> bool {
        self.number(&format!("policy_capabilities/{name}")).is_ok_and(|set| set == 1)
    }

    fn vector(&self, source: &str, target: &str, class: &str) -> io::Result<(u32, u32)> {
        let index = self.number(&format!("class/{class}/index"))?;
        let answer = self.ask("access", &format!("{source} {target} {index}"))?;
        // allowed decided auditallow auditdeny seqno flags; all but seqno in hexadecimal.
        let mut words = answer.split(' ');
        let mut hex = |place| {
            let word = words.nth(place)?;
            u32::from_str_radix(word, 16).ok()
        };
        let (allowed, flags) = (hex(0), hex(4));
        allowed.zip(flags).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("the kernel's answer is {answer:?}"))
        })
    }

    fn bit(&self, class: &str, permission: &str) -> io::Result<Option<u32>> {
        match self.number(&format!("class/{class}/perms/{permission}")) {
            Ok(number) => Ok(number.checked_sub(1).and_then(|place| 1_u32.checked_shl(place))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn number(&self, file: &str) -> io::Result<u32> {
        let text = fs::read_to_string(self.root.join(file))?;
        text.trim().parse().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{file} holds {:?}", text.trim()))
        })
    }

    fn ask(&self, node: &str, question: &str) -> io::Result<String> {
        let mut file = open(&self.root.join(node))?;
        // The kernel reads it as one string, which ends where it ends (`selinux_transaction_write`).
        file.write_all(question.as_bytes())?;
        let mut answer = Vec::new();
        file.take(MAX_ANSWER).read_to_end(&mut answer)?;
        Ok(trimmed(String::from_utf8_lossy(&answer).into_owned()))
    }
}

/// The context of this process.
///
/// # Errors
/// The kernel would not say.
pub fn own_context() -> io::Result<String> {
    fs::read_to_string("/proc/self/attr/current").map(trimmed)
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(path)
}

fn trimmed(text: String) -> String {
    text.trim_end_matches(['\n', '\0']).to_owned()
}
