//! The texts behind the flags in the help of commands.

/// The text after the flags in the help of `gatewayd` and of `run`. No line has more than 80 characters, because clap would break a longer
/// line and with it the columns.
pub(super) const MORE: &str = "\
Examples:
  gatewayd init --id mygateway --mix-host 203.0.113.5 --clients-host 203.0.113.5
  gatewayd run --id mygateway
  RUST_LOG=info,store=debug gatewayd run --id mygateway

Environment:
  GATEWAYD_HOME  the folder of all gateways, as --home
  RUST_LOG       what is logged: error, warn, info (default), debug or trace,
                 for everything or for one of gatewayd, mix-ingress, mix-egress,
                 client-edge, store and http-api (store=debug), separated by
                 commas

Files, in $HOME/.nym/gateways/<ID>:
  config/config.toml  the settings, each explained
  data/*.pem          the keys: back them up
  data/               ledger of clients, stored messages, marks of packets seen

Exit codes:
  0   ended in good order
  1   failed; another attempt may succeed
  2   wrong arguments; of `status` and `health`: the gateway does not serve
  69  the command is for a running gateway, and there is none, it is busy or
      ending, or it does not answer this account
  73  a file or folder that the command is to make cannot be made, or what it
      prints cannot be written
  78  the configuration or a key cannot be used: correct it first";

/// Behind the help of `drain`.
pub(super) const DRAIN_EXAMPLES: &str = "\
Example:
  gatewayd drain --id mygateway

New connections to the clients port are closed at once. Clients that are
connected stay and get their mail. Mix nodes may connect, as they bring it.
Once the clients have left, a stop costs nobody anything. `gatewayd resume`,
or a restart, lets new clients in again.";

/// Behind the help of `check`.
pub(super) const FITNESS_EXAMPLES: &str = "\
Examples:
  gatewayd check --id mygateway
  gatewayd check --id mygateway --json
  gatewayd run --id mygateway --dry-run

Nothing is changed. Give the flags that `run` gets. Exit codes: 0 if nothing is
wrong, 78 if the configuration or a key has to be corrected, 1 if something else
is wrong. `run --dry-run` also opens everything and closes each jail once.";

/// Behind the help of `config`.
pub(super) const CONFIG_EXAMPLES: &str = "\
Examples:
  gatewayd config show --id mygateway
  gatewayd config diff --id mygateway";

/// Behind the help of `config show`.
pub(super) const CONFIG_SHOW_EXAMPLES: &str = "\
Examples:
  gatewayd config show --id mygateway
  gatewayd config show --id mygateway --json

A value is the default, or comes from the file, a flag of `run` or the
environment. Keys are shown by the paths of their files only.";

/// Behind the help of `config diff`.
pub(super) const CONFIG_DIFF_EXAMPLES: &str = "\
Examples:
  gatewayd config diff --id mygateway
  gatewayd config diff --id mygateway --json";

/// Behind the help of `reload`.
pub(super) const RELOAD_EXAMPLES: &str = "\
Examples:
  gatewayd reload --id mygateway --dry-run
  gatewayd reload --id mygateway

If the file is wrong (exit code 78), or changes what only a restart can change
(1), nothing changes. SIGHUP does the same, and the outcome is in the log.";

/// Behind the help of `upgrade-binary`.
pub(super) const UPGRADE_BINARY_EXAMPLES: &str = "\
Examples:
  gatewayd upgrade-binary --id mygateway
  gatewayd upgrade-binary --id mygateway --from /opt/gatewayd-next/bin

The new programs are tried in their jails first. If anything is wrong, nothing
changes. Then the workers end in order and the new ones start; the ports stay
open, clients connect again, and their mail waits. If a worker dies or hangs
within the probation, if packets are not accounted for, if storage gets worse,
if clearly more is lost by a fault of the gateway, or if nobody is served any
more, the old programs come back. The exit code is 0 if the new programs stay, 1
if they do not, 69 if the gateway cannot be told.";

/// Behind the help of `resume`.
pub(super) const RESUME_EXAMPLES: &str = "\
Example:
  gatewayd resume --id mygateway";

/// Behind the help of `log`.
pub(super) const LOG_EXAMPLES: &str = "\
Examples:
  gatewayd log --id mygateway --role store debug
  gatewayd log --id mygateway --role gatewayd info --for 1h

Warnings and errors are always logged. trace names the addresses of peers.
A process that is restarted meanwhile has the same level.";

/// Behind the help of `client`.
pub(super) const CLIENT_EXAMPLES: &str = "\
Examples:
  gatewayd client count --id mine
  gatewayd client show --id mine Gj7jCwwZmPiMbgxAvJZ3CPfscKmCr3v9xvrEsBgGaNMM
  gatewayd client forget --id mine Gj7jCwwZmPiMbgxAvJZ3CPfscKmCr3v9xvrEsBgGaNMM";

/// Behind the help of `client count`.
pub(super) const CLIENT_COUNT_EXAMPLES: &str = "\
Examples:
  gatewayd client count --id mine
  gatewayd client count --id mine --json";

/// Behind the help of `client show`.
pub(super) const CLIENT_SHOW_EXAMPLES: &str = "\
Example:
  gatewayd client show --id mine Gj7jCwwZmPiMbgxAvJZ3CPfscKmCr3v9xvrEsBgGaNMM

The day on which it was last seen is shown, never the time.";

/// Behind the help of `client forget`.
pub(super) const CLIENT_FORGET_EXAMPLES: &str = "\
Example:
  gatewayd client forget --id mine Gj7jCwwZmPiMbgxAvJZ3CPfscKmCr3v9xvrEsBgGaNMM

A client that is forgotten has to register again. The log says that one was
forgotten, and not which.";

/// Behind the help of `backup`.
pub(super) const BACKUP_EXAMPLES: &str = "\
Example:
  gatewayd backup --id mygateway /root/mygateway-2026-11-30.tar

The file has everything: keys, configuration, clients, mail, marks of packets.
Anybody who has it can run the gateway elsewhere. It is a tar archive, so that
`tar -tvf` lists it. Mail that is acknowledged before the command is in it.";

/// Behind the help of `restore`.
pub(super) const RESTORE_EXAMPLES: &str = "\
Example:
  gatewayd restore --id mygateway /root/mygateway-2026-11-30.tar

All of the file is checked before anything is written. Logins from before the
first start are refused: clients that log in without a signature register again.";

/// Behind the help of `support-bundle`.
pub(super) const SUPPORT_EXAMPLES: &str = "\
Examples:
  gatewayd support-bundle --id mygateway
  gatewayd support-bundle --id mygateway bundle.txt

It has no keys, and no address or name of anybody. Read it before you send it.";

/// The text after the flags in the help of `init`.
pub(super) const INIT_EXAMPLES: &str = "\
Examples:
  gatewayd init --id mygateway --mix-host 203.0.113.5 --clients-host 203.0.113.5
  gatewayd init --id athome \\
      --mix-host 192.168.1.5 --mix-announce-host nym.example \\
      --clients-host 192.168.1.5 --clients-announce-host wss://nym.example";

/// Behind the help of `upgrade`.
pub(super) const UPGRADE_EXAMPLES: &str = "\
Examples:
  gatewayd upgrade --id mygateway
  gatewayd upgrade --id mygateway --current-version 0.8.1";

/// Behind the help of `audit`.
pub(super) const AUDIT_EXAMPLES: &str = "\
Examples:
  gatewayd audit --id mygateway
  gatewayd audit --id mygateway --role store --json
  gatewayd audit --id mygateway --self-test

The exit code is 1 if anything is not as it should be.";

/// Behind the help of `sign`.
pub(super) const SIGN_EXAMPLES: &str = "\
Examples:
  gatewayd sign --id mygateway --contract-msg 22Z9wt4PyiBCbMiErxj5bBa4VCCFsjNawZ1KnLyMeV9p...
  gatewayd sign --id mygateway --text 'I run this gateway'

What the signature says is shown first, on standard error. Without --yes it is
made only if you type yes.";

/// Behind the help of `bonding-information`.
pub(super) const BONDING_EXAMPLES: &str = "\
Examples:
  gatewayd bonding-information --id mygateway
  gatewayd bonding-information --id mygateway --output json";

/// Behind the help of `node-check`.
pub(super) const CHECK_EXAMPLES: &str = "\
Example:
  gatewayd node-check --id mygateway

The gateway has to be running, and is looked at through its public address.
The exit code is 1 if something would keep clients or the directory away.";

/// Behind the help of `status`.
pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  gatewayd status --id mygateway
  gatewayd status --id mygateway --watch
  gatewayd status --id mygateway --json

Exit codes:
  0   the gateway serves
  1   the gateway serves, and something is wrong
  2   the gateway does not serve, or cannot be asked
  73  the answer could not be written";

/// Behind the help of `health`.
pub(super) const HEALTH_EXAMPLES: &str = "\
Example:
  gatewayd health --id mygateway

Exit codes:
  0   the gateway serves
  1   the gateway serves, and something is wrong
  2   the gateway does not serve, or cannot be asked
  73  the answer could not be written";
