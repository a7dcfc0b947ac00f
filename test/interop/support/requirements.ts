import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { describe, expect, test } from 'vitest';
import { commandExists } from './process.ts';

interface Requirement {
  /** The word in TUNNELWRIGHT_REQUIRE that turns the skip into a failure. */
  readonly name: string;
  readonly missing: () => string | undefined;
}

export const NAMESPACES: Requirement = {
  name: 'netns',
  missing: () => {
    if (process.platform !== 'linux') return 'Linux';
    if (process.getuid?.() !== 0) return 'root, to make network namespaces';
    if (!commandExists('ip')) return 'ip (package iproute2)';
    return undefined;
  },
};

/** Devices and sockets of ours in namespaces. */
export const NATIVE_CALLS: Requirement = {
  name: NAMESPACES.name,
  missing: () => {
    const missing = NAMESPACES.missing();
    if (missing) return missing;
    try {
      createRequire(import.meta.url).resolve('koffi');
      return undefined;
    } catch {
      return 'koffi (an optional dependency)';
    }
  },
};

export const STRONGSWAN: Requirement = {
  name: 'strongswan',
  missing: () => {
    const namespaces = NAMESPACES.missing();
    if (namespaces) return namespaces;
    if (!commandExists('charon-systemd')) return 'charon-systemd (packages charon-systemd, libcharon-extra-plugins)';
    if (!commandExists('swanctl')) return 'swanctl (package strongswan-swanctl)';
    if (!commandExists('openssl')) return 'openssl';
    if (!commandExists('ping')) return 'ping (package iputils-ping)';
    if (!existsSync('/dev/net/tun')) return '/dev/net/tun';
    return undefined;
  },
};

/** A NAT and a filter in a namespace. */
export const NFTABLES: Requirement = {
  name: 'nftables',
  missing: () => {
    const missing = NAMESPACES.missing();
    if (missing) return missing;
    if (!commandExists('nft')) return 'nft (package nftables)';
    const rules =
      'add table ip t; add chain ip t c { type nat hook postrouting priority srcnat; }; add rule ip t c meta l4proto udp masquerade';
    const { status } = spawnSync('unshare', ['--net', 'nft', rules], { stdio: 'ignore' });
    return status === 0 ? undefined : 'nf_tables with NAT in the kernel';
  },
};

/** strongSwan, and rules between that rewrite ports. */
export const STRONGSWAN_BEHIND_NAT: Requirement = { name: NFTABLES.name, missing: () => STRONGSWAN.missing() ?? NFTABLES.missing() };

/** Debian's next release in a folder: its strongSwan speaks ML-KEM and RFC 9370. `.ci/run` makes one. */
export const STRONGSWAN_6_ROOT = process.env.TUNNELWRIGHT_STRONGSWAN6;

export const STRONGSWAN_6: Requirement = {
  name: 'strongswan6',
  missing: () => {
    const missing = STRONGSWAN.missing();
    if (missing) return missing;
    if (STRONGSWAN_6_ROOT === undefined) return 'TUNNELWRIGHT_STRONGSWAN6, a folder with a system that has strongSwan 6';
    return existsSync(`${STRONGSWAN_6_ROOT}/usr/sbin/charon-systemd`) ? undefined : `charon-systemd in ${STRONGSWAN_6_ROOT}`;
  },
};

/** Packages in a folder that cannot be installed beside strongSwan, and a kernel with ESP and PF_KEY for a guest. `.ci/run` makes it. */
export const PEERS_ROOT = process.env.TUNNELWRIGHT_PEERS ?? '';

/** An emulated machine with the ESP of its kernel. */
export const GUEST: Requirement = {
  name: 'guest',
  missing: () => {
    const namespaces = NAMESPACES.missing();
    if (namespaces) return namespaces;
    if (PEERS_ROOT === '') return 'TUNNELWRIGHT_PEERS, a folder with a kernel and the peers, unpacked';
    if (!existsSync(`${PEERS_ROOT}/lib/modules`)) return `a kernel in ${PEERS_ROOT}`;
    const commands = { 'qemu-system-x86_64': 'qemu-system-x86', modprobe: 'kmod', depmod: 'kmod', openssl: 'openssl' };
    for (const [command, packaged] of Object.entries(commands)) if (!commandExists(command)) return `${command} (package ${packaged})`;
    return existsSync('/bin/busybox') ? undefined : '/bin/busybox (package busybox-static)';
  },
};

/** libreswan 4 among the unpacked peers, or 5 in Debian's next release. */
const libreswan = (name: string, system: string | undefined, what: string): Requirement => ({
  name,
  missing: () => {
    const missing = GUEST.missing();
    if (missing) return missing;
    for (const command of ['certutil', 'pk12util']) if (!commandExists(command)) return `${command} (package libnss3-tools)`;
    return existsSync(`${system}/usr/libexec/ipsec/pluto`) ? undefined : what;
  },
});
export const LIBRESWAN_4 = libreswan('libreswan4', PEERS_ROOT, 'libreswan 4 in TUNNELWRIGHT_PEERS');
export const LIBRESWAN_5 = libreswan('libreswan5', STRONGSWAN_6_ROOT, 'libreswan 5 in TUNNELWRIGHT_STRONGSWAN6');

export const OPENIKED: Requirement = {
  name: 'openiked',
  missing: () => GUEST.missing() ?? (existsSync(`${PEERS_ROOT}/usr/sbin/iked`) ? undefined : 'OpenIKED in TUNNELWRIGHT_PEERS'),
};

/** Wireshark on the command line, and the right to capture on loopback. */
export const TSHARK: Requirement = {
  name: 'tshark',
  missing: () => {
    for (const command of ['tshark', 'dumpcap']) if (!commandExists(command)) return `${command} (package tshark)`;
    // it opens the device, as a capture would
    const { status } = spawnSync('dumpcap', ['-L', '-i', 'lo'], { stdio: 'ignore' });
    return status === 0 ? undefined : 'the right to capture on lo (root, or the group wireshark)';
  },
};

/** What a copy of what is committed needs to be installed and run as somebody else. */
export const FRESH_COPY: Requirement = {
  name: 'fresh-copy',
  missing: () => {
    if (process.platform !== 'linux') return 'Linux';
    for (const command of ['git', 'tar', 'npm']) if (!commandExists(command)) return command;
    if (process.getuid?.() === 0 && !commandExists('setpriv')) return 'setpriv (package util-linux)';
    const asked = spawnSync('npm', ['view', 'commander', 'version', '--fetch-retries=0', '--fetch-timeout=8000'], { stdio: 'ignore' });
    return asked.status === 0 ? undefined : 'the npm registry';
  },
};

/** A suite that needs something of the machine. Without it the suite is skipped, and its name says what to install. */
export function describeWith(requirement: Requirement, name: string, body: () => void): void {
  const missing = requirement.missing();
  if (missing === undefined) describe(name, body);
  else if (isRequired(requirement.name)) test(name, () => expect.fail(`${requirement.name} is required, but this is missing: ${missing}`));
  else describe.skip(`${name} (needs ${missing})`, body);
}

/** Every combination, or the few in which each value appears at least once. */
export const EVERYTHING = process.env.TUNNELWRIGHT_FULL === '1';

const isRequired = (name: string): boolean => (process.env.TUNNELWRIGHT_REQUIRE ?? '').split(',').includes(name);
