//! `store`: works on files. A filter sees no paths, so Landlock and the account decide which files. Makes no socket, accepts nobody.

use super::rule::{Network, Policy, Rule, Unlisted, is, is_null};

/// The policy of `store`.
pub const STORE: Policy = Policy { name: "store", network: Network::Accepts, unlisted: Unlisted::Kills, own: OWN };

const OWN: &[Rule] = &[
    allow!(SYS_openat, "the databases, and inbox files of nym-gateway 0.10"),
    allow!(SYS_fcntl, "directories that are listed are closed on exec").when(&[is(1, libc::F_SETFD)]),
    allow!(SYS_pread64, "stored messages are read; sled reads pages"),
    allow!(SYS_pwrite64, "a commit; sled writes its log"),
    allow!(SYS_lseek, "sled reads its configuration and snapshot; holes in a file that is rewritten"),
    allow!(SYS_sync_file_range, "sled flushes"),
    allow!(SYS_fdatasync, "a commit"),
    allow!(SYS_fsync, "a file that was made is found again; sled's snapshot"),
    allow!(
        SYS_ftruncate,
        "a segment where a file system cannot allocate; sled cuts off what a crash left half written"
    )
    .unseen(),
    allow!(SYS_fallocate, "a segment of mail has its place on the disk before it is written; the reserve"),
    allow!(SYS_fstatfs, "is there room on the disk?"),
    allow!(SYS_flock, "the folder of the mail is locked; sled locks its database"),
    allow!(SYS_statx, "sizes of files"),
    allow!(SYS_newfstatat, "ages and sizes of inbox files of nym-gateway 0.10"),
    allow!(SYS_prlimit64, "sled asks how much memory there may be; only asks").when(&[
        is(0, 0),
        is(1, libc::RLIMIT_AS as i32),
        is_null(2),
    ]),
    allow!(SYS_sysinfo, "sled asks how much memory there is"),
    allow!(SYS_getdents64, "directories are listed"),
    #[cfg(target_arch = "x86_64")]
    allow!(SYS_mkdir, "sled makes its directories"),
    allow!(SYS_mkdirat, "the folder of the mail; sled's, on architectures without mkdir"),
    #[cfg(target_arch = "x86_64")]
    allow!(SYS_rename, "sled's snapshot takes its place"),
    allow!(
        SYS_renameat,
        "a segment is used again; the file of packets seen is replaced whole; what is damaged is put aside"
    ),
    #[cfg(target_arch = "x86_64")]
    allow!(SYS_unlink, "sled's old snapshots"),
    allow!(SYS_unlinkat, "segments of mail; inbox files that were taken over; the reserve"),
];
