//! `gatewayd backup` and `gatewayd restore`: all of a gateway in one file, made while it runs.
//!
//! *Trusts* the operator, and root. Of `store` it takes bytes under plain names, which it never looks into. Of the file that is restored
//! it trusts nothing before all of it has been read and compared with its manifest. *Holds* the private keys while it copies them.
//! *Promises*: a file that is not whole has no name, or the name of something else. A gateway that exists is never changed by a restore.
//!
//! The file is a tar archive whose names are those of the gateway's folder, and whose last entry is `MANIFEST`.
//!
//! | file | idea |
//! |---|---|
//! | [`manifest`] | what the archive holds, with lengths and hashes |
//! | [`archive`] | writes an archive, and reads one that is whole |
//! | [`make`], [`output`] | the backup |
//! | [`restore`] | a new gateway's folder from a backup |

mod archive;
pub mod make;
mod manifest;
mod output;
pub mod restore;
