//! Architectures: OCI names, kernel tokens, and the three properties on which filters differ between them.

use libseccomp::ScmpArch;

macro_rules! architectures {
    ($($variant:ident $oci:literal $scmp:ident $token:literal $narrow:literal $mux:literal $base:literal)*) => {
        /// An architecture of a filter, by its OCI name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Arch { $($variant),* }

        impl Arch {
            pub(super) const ALL: &'static [Arch] = &[$(Arch::$variant),*];

            /// The OCI name, `SCMP_ARCH_...`.
            pub fn oci(self) -> &'static str { match self { $(Arch::$variant => $oci),* } }

            /// `AUDIT_ARCH_*` of linux/audit.h, what `seccomp_data.arch` holds.
            pub fn token(self) -> u32 { match self { $(Arch::$variant => $token),* } }

            /// Where the syscall numbers of this ABI start (x32, MIPS).
            pub(super) fn base(self) -> u32 { match self { $(Arch::$variant => $base),* } }

            /// libseccomp compares 32 bits of every argument on this architecture, and drops the upper half of constants.
            pub(super) fn is_narrow(self) -> bool { match self { $(Arch::$variant => $narrow),* } }

            /// The architecture has `socketcall` and `ipc`, which carry the socket and System V IPC calls.
            pub(super) fn has_multiplexer(self) -> bool { match self { $(Arch::$variant => $mux),* } }

            pub(super) fn scmp(self) -> ScmpArch { match self { $(Arch::$variant => ScmpArch::$scmp),* } }
        }
    };
}

// Tokens: linux/audit.h (EM_* | __AUDIT_ARCH_64BIT | __AUDIT_ARCH_LE | N32 bit). Width and multiplexers: libseccomp 2.5.4, src/arch-*.c.
architectures! {
    X86_64      "SCMP_ARCH_X86_64"      X8664       0xc000_003e false false 0
    X86         "SCMP_ARCH_X86"         X86         0x4000_0003 true  true  0
    X32         "SCMP_ARCH_X32"         X32         0xc000_003e true  false 0x4000_0000
    Aarch64     "SCMP_ARCH_AARCH64"     Aarch64     0xc000_00b7 false false 0
    Arm         "SCMP_ARCH_ARM"         Arm         0x4000_0028 true  false 0
    Mips        "SCMP_ARCH_MIPS"        Mips        0x0000_0008 true  true  4000
    Mips64      "SCMP_ARCH_MIPS64"      Mips64      0x8000_0008 false false 5000
    Mips64N32   "SCMP_ARCH_MIPS64N32"   Mips64N32   0xa000_0008 true  false 6000
    Mipsel      "SCMP_ARCH_MIPSEL"      Mipsel      0x4000_0008 true  true  4000
    Mipsel64    "SCMP_ARCH_MIPSEL64"    Mipsel64    0xc000_0008 false false 5000
    Mipsel64N32 "SCMP_ARCH_MIPSEL64N32" Mipsel64N32 0xe000_0008 true  false 6000
    Ppc         "SCMP_ARCH_PPC"         Ppc         0x0000_0014 true  true  0
    Ppc64       "SCMP_ARCH_PPC64"       Ppc64       0x8000_0015 false true  0
    Ppc64Le     "SCMP_ARCH_PPC64LE"     Ppc64Le     0xc000_0015 false true  0
    S390        "SCMP_ARCH_S390"        S390        0x0000_0016 true  true  0
    S390X       "SCMP_ARCH_S390X"       S390X       0x8000_0016 false true  0
    Riscv64     "SCMP_ARCH_RISCV64"     Riscv64     0xc000_00f3 false false 0
    Loongarch64 "SCMP_ARCH_LOONGARCH64" Loongarch64 0xc000_0102 false false 0
}

impl Arch {
    /// The architecture this program was built for; the runtime on the same machine has the same one.
    pub fn native() -> Self {
        let native = ScmpArch::native();
        Self::ALL.iter().copied().find(|arch| arch.scmp() == native).unwrap_or(Arch::X86_64)
    }

    /// By OCI name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|arch| arch.oci() == name)
    }

    /// Go's name of the architecture, which Docker's `includes.arches` uses.
    pub(super) fn goarch(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
            Self::Mips => "mips",
            Self::Mips64 => "mips64",
            Self::Mips64N32 => "mips64n32",
            Self::Mipsel => "mipsel",
            Self::Mipsel64 => "mipsel64",
            Self::Mipsel64N32 => "mipsel64n32",
            Self::Ppc => "ppc",
            Self::Ppc64 => "ppc64",
            Self::Ppc64Le => "ppc64le",
            Self::S390 => "s390",
            Self::S390X => "s390x",
            Self::Riscv64 => "riscv64",
            Self::Loongarch64 => "loong64",
        }
    }
}
