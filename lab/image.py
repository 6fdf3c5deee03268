"""The disk of every server: Debian 12 by debootstrap, clptools from its package.

Made once and kept in the cache: the files (`tree/`, fetched again only when the list of packages
changes), then the image (`disk.raw`, made again when clptools or something here changes).  Each
server gets a copy-on-write layer over it.  No loop device and no mount is needed for any of it.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
from pathlib import Path

import msgspec

from clptools.version import VERSION
from lab import package, packages
from lab.places import SOURCE, Trouble, cache, missing, run, say

NEEDED = {
    "debootstrap": "debootstrap",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ipmi_sim": "openipmi",
    "ipmitool": "ipmitool",
    "mke2fs": "e2fsprogs",
    "dpkg-deb": "dpkg",
    "ip": "iproute2",
    "snmptrap": "snmp",
    "psql": "postgresql-client",
}
"""Programs of this machine, and the Debian packages that have them."""

MIRROR = "http://deb.debian.org/debian"
PACKAGES = (
    *("systemd-sysv", "udev", "dbus", "libpam-systemd", "kmod", "procps"),
    *("iproute2", "iputils-ping", "iputils-arping", "ethtool", "ipmitool"),
    *("qemu-guest-agent", "linux-image-amd64", "initramfs-tools", "dmsetup"),
    *("python3", "python3-distutils", "logrotate", "ca-certificates"),
)
SERVERS = 3
NETWORKS = {"lan1": "192.168.0", "lan2": "10.0.0", "bmc": "192.168.10"}
"""Networks of every server, and their /24 prefixes; the server's number ends its address."""

MODULES = ("virtio_blk", "virtio_net", "virtio_console", "virtio_pci", "ext4")
XZ = b"\xfd7zXZ\0"
"""How Debian's kernels begin behind their own unpacker."""

UNNEEDED_MODULES = (
    *("psmouse", "pcspkr", "evdev", "joydev", "button", "i2c_i801", "ppdev", "parport_pc"),
    *("parport", "floppy", "sr_mod", "ahci", "cfg80211", "rfkill", "drm", "efi_pstore"),
    *("intel_rapl_msr", "intel_rapl_common", "binfmt_misc", "fuse", "configfs", "sg"),
    *("ipmi_ssif", "acpi_ipmi", "qemu_fw_cfg", "lpc_ich", "crc32c_intel"),
    *("sha1_ssse3", "sha256_ssse3", "sha512_ssse3"),
)
UNNEEDED_UNITS = (
    *("modprobe@configfs.service", "modprobe@dm_mod.service", "modprobe@drm.service"),
    *("modprobe@efi_pstore.service", "modprobe@fuse.service", "modprobe@loop.service"),
    *("systemd-timesyncd.service", "systemd-binfmt.service", "systemd-pstore.service"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "logrotate.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "getty@tty1.service"),
    *("serial-getty@ttyS0.service", "dev-hugepages.mount", "dev-mqueue.mount"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-update-utmp.service"),
    *("proc-sys-fs-binfmt_misc.automount", "sys-fs-fuse-connections.mount"),
    *("systemd-logind.service", "systemd-user-sessions.service", "cron.service"),
    *("systemd-update-utmp-runlevel.service", "systemd-sysusers.service"),
    *("systemd-remount-fs.service", "systemd-random-seed.service"),
    *("systemd-network-generator.service", "systemd-networkd.service"),
    *("systemd-networkd.socket", "systemd-networkd-wait-online.service"),
)
"""What no case looks at and an emulated processor would spend half its boot on."""

UNNEEDED_GENERATORS = (
    *("cryptsetup", "debug", "getty", "gpt-auto", "hibernate-resume", "integritysetup"),
    *("rc-local", "run", "system-update", "sysv", "veritysetup"),
)
"""Programs that systemd runs at every start and reload, and that find nothing here."""
UNNEEDED_HOOKS = ("dmsetup", "fsck", "keymap", "lvm2", "resume", "thermal", "udev")
"""What an initrd holds beside the modules that find the root file system."""

NETWORK_UNIT = """\
[Unit]
Description=Networks of the laboratory
DefaultDependencies=no
Wants=network.target network-online.target
Before=network.target network-online.target shutdown.target
After=local-fs.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/ip -batch /etc/lab-networks/%H.up
ExecStop=/usr/sbin/ip -batch /etc/lab-networks/%H.down

[Install]
WantedBy=multi-user.target
"""
"""In a tenth of the time that systemd-networkd takes on an emulated processor."""

COLDPLUG = """\
[Service]
ExecStart=
ExecStart=-udevadm trigger --action=add --subsystem-match=block --subsystem-match=net \
  --subsystem-match=virtio-ports
"""
"""Of what was there before udev, only what something waits for."""

FSTAB = "/dev/vda / ext4 defaults,errors=remount-ro 0 1\n"
CLEAN = "rm -rf /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/lib/apt/lists/*"


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What a server boots from."""

    disk: Path
    kernel: Path
    initrd: Path
    deb: Path
    """The package that is installed in it."""

    @property
    def release(self) -> str:
        """Of its kernel, as `uname -r` says."""
        return self.initrd.resolve().name.removeprefix("initrd.img-")


def mac(server: int, network: str) -> str:
    """The hardware address of a server's card in a network."""
    return f"52:54:00:00:{server:02x}:{list(NETWORKS).index(network):02x}"


def prepare() -> Image:
    """Makes what is missing or old; `KEEP=1` in the environment takes what is there.

    Raises Trouble.
    """
    _install_needed()
    tree = cache() / "tree"
    _system(tree)
    disk = cache() / "disk.raw"
    kept = sorted((cache() / "packages").glob("*.deb"))
    if os.environ.get("KEEP") and kept and (cache() / "disk.of").exists():
        return _image(tree, disk, kept[-1])
    mark = package.fingerprint()
    deb = _deb(mark)
    files = sorted((SOURCE / "lab/guest").iterdir())
    own = b"".join(path.read_bytes() for path in [Path(__file__), Path(packages.__file__), *files])
    wanted = f"{mark} {hashlib.sha256(own).hexdigest()}"
    if not disk.exists() or _read(cache() / "disk.of") != wanted:
        say("making the image")
        (cache() / "disk.of").unlink(missing_ok=True)
        _install(tree, deb)
        packages.install(tree)
        _settle(tree)
        disk.unlink(missing_ok=True)
        run("mke2fs", "-q", "-t", "ext4", "-d", tree, "-L", "root", disk, "3G")
        (cache() / "disk.of").write_text(wanted)
    return _image(tree, disk, deb)


def tree() -> Path:
    """The files of a server, without clptools: for programs that are not installed here.

    Raises Trouble.
    """
    _install_needed()
    found = cache() / "tree"
    _system(found)
    packages.install(found)
    return found


def _image(tree: Path, disk: Path, deb: Path) -> Image:
    return Image(disk=disk, kernel=cache() / "vmlinux", initrd=tree / "initrd.img", deb=deb)


def _install_needed() -> None:
    lacking = sorted({NEEDED[name] for name in missing(tuple(NEEDED))})
    if lacking:
        say(f"installing {' '.join(lacking)}")
        run("apt-get", "update", "-q")
        quiet = ("env", "DEBIAN_FRONTEND=noninteractive")
        run(*quiet, "apt-get", "install", "-y", "-q", "--no-install-recommends", *lacking)
    still = missing(tuple(NEEDED))
    if still:
        raise Trouble(f"not installed: {', '.join(still)}")


def _system(tree: Path) -> None:
    """Debian 12 itself."""
    wanted = " ".join(PACKAGES)
    if _read(cache() / "tree.of") == wanted:
        return
    say("fetching Debian 12 (a few minutes, once)")
    shutil.rmtree(tree, ignore_errors=True)
    (cache() / "tree.of").unlink(missing_ok=True)
    include = f"--include={','.join(PACKAGES)}"
    run("debootstrap", "--variant=minbase", include, "bookworm", tree, MIRROR)
    run("chroot", tree, "sh", "-c", CLEAN)
    (cache() / "tree.of").write_text(wanted)


def _deb(mark: str) -> Path:
    """The package of the source tree as it is now."""
    folder = cache() / "packages"
    known = folder / f"clptools_{VERSION}-lab.{mark}_amd64.deb"
    if not known.exists():
        say("building the Debian package")
        for old in folder.glob("*.deb"):
            old.unlink()
        package.build(folder, f"lab.{mark}")
    return known


def _install(tree: Path, deb: Path) -> None:
    """clptools as an administrator installs it."""
    shutil.copy(deb, tree / "root/clptools.deb")
    run("chroot", tree, "sh", "-c", "dpkg -P clptools >/dev/null 2>&1; dpkg -i /root/clptools.deb")
    (tree / "root/clptools.deb").unlink()


def _settle(tree: Path) -> None:
    """Networks, modules, journal: what a server's administrator sets."""
    (tree / "etc/fstab").write_text(FSTAB)
    (tree / "etc/machine-id").write_text("")
    (tree / "etc/hostname").unlink(missing_ok=True)
    (tree / "etc/modules-load.d/lab.conf").write_text("ipmi_si\nipmi_devintf\n")
    networks = tree / "etc/lab-networks"
    networks.mkdir(exist_ok=True)
    for server in range(1, SERVERS + 1):
        # One program for everything: to start each costs a tenth of a second.
        (networks / f"server{server}.up").write_text(
            "".join(
                f"link set eth{card} name {name}\n"
                f"address add {prefix}.{server}/24 dev {name}\n"
                f"link set {name} up\n"
                for card, (name, prefix) in enumerate(NETWORKS.items())
            )
        )
        (networks / f"server{server}.down").write_text(
            "".join(f"link set {name} down\n" for name in NETWORKS)
        )
    (tree / "etc/systemd/system/lab-network.service").write_text(NETWORK_UNIT)
    coldplug = tree / "etc/systemd/system/systemd-udev-trigger.service.d"
    coldplug.mkdir(exist_ok=True)
    (coldplug / "lab.conf").write_text(COLDPLUG)
    hosts = [f"{prefix}.{n} server{n}" for n in range(1, SERVERS + 1) for prefix in ("192.168.0",)]
    (tree / "etc/hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts]) + "\n")
    journal = tree / "etc/systemd/journald.conf.d"
    journal.mkdir(exist_ok=True)
    (journal / "lab.conf").write_text("[Journal]\nStorage=persistent\nSyncIntervalSec=2s\n")
    # Every sysrq key, so that a case may press any of them.
    (tree / "etc/sysctl.d/lab.conf").write_text("kernel.sysrq=1\n")
    own = tree / "usr/lib/clptools-lab"
    shutil.rmtree(own, ignore_errors=True)
    shutil.copytree(SOURCE / "lab/guest", own)
    blacklist = "".join(f"blacklist {name}\n" for name in UNNEEDED_MODULES)
    (tree / "etc/modprobe.d/lab.conf").write_text(blacklist)
    for name in UNNEEDED_UNITS:
        mask = tree / "etc/systemd/system" / name
        mask.unlink(missing_ok=True)
        mask.symlink_to("/dev/null")
    generators = tree / "etc/systemd/system-generators"
    generators.mkdir(exist_ok=True)
    for name in UNNEEDED_GENERATORS:
        mask = generators / f"systemd-{name}-generator"
        mask.unlink(missing_ok=True)
        mask.symlink_to("/dev/null")
    enable = (
        "systemctl enable -q lab-network.service; systemctl set-default -q multi-user.target;"
        "rm -rf /var/log/journal/*; mkdir -p /var/log/journal"
    )
    run("chroot", tree, "sh", "-c", enable)
    _unpack_kernel(tree)
    _pack_initrd(tree)


def _pack_initrd(tree: Path) -> None:
    """An initrd that an emulated processor is soon through with."""
    (tree / "etc/initramfs-tools/modules").write_text("\n".join(MODULES) + "\n")
    (tree / "etc/initramfs-tools/conf.d/lab").write_text("MODULES=list\nCOMPRESS=gzip\n")
    for name in UNNEEDED_HOOKS:
        (tree / "usr/share/initramfs-tools/hooks" / name).chmod(0o644)
    run("chroot", tree, "update-initramfs", "-u", "-k", "all")


def _unpack_kernel(tree: Path) -> None:
    """The kernel without its own unpacking, which takes an emulated processor seconds."""
    packed = (tree / "vmlinuz").read_bytes()
    at = packed.index(XZ)
    whole = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(packed[at:])
    (cache() / "vmlinux").write_bytes(whole)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
