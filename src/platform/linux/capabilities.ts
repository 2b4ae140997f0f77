// Which powers a program keeps when it is started by this process. A container's program runs as uid 0 of the room but
// with few capabilities, and cannot win more by executing: SECBIT_NOROOT takes away what uid 0 means at execve, and the
// ambient set gives back exactly what was chosen (capabilities(7)). Both belong to the thread and are put back.

import { check, libc } from './libc.ts';

/** Numbers of linux/capability.h. */
export const CAPABILITIES = {
  CHOWN: 0,
  DAC_OVERRIDE: 1,
  DAC_READ_SEARCH: 2,
  FOWNER: 3,
  FSETID: 4,
  KILL: 5,
  SETGID: 6,
  SETUID: 7,
  SETPCAP: 8,
  LINUX_IMMUTABLE: 9,
  NET_BIND_SERVICE: 10,
  NET_BROADCAST: 11,
  NET_ADMIN: 12,
  NET_RAW: 13,
  IPC_LOCK: 14,
  IPC_OWNER: 15,
  SYS_MODULE: 16,
  SYS_RAWIO: 17,
  SYS_CHROOT: 18,
  SYS_PTRACE: 19,
  SYS_PACCT: 20,
  SYS_ADMIN: 21,
  SYS_BOOT: 22,
  SYS_NICE: 23,
  SYS_RESOURCE: 24,
  SYS_TIME: 25,
  SYS_TTY_CONFIG: 26,
  MKNOD: 27,
  LEASE: 28,
  AUDIT_WRITE: 29,
  AUDIT_CONTROL: 30,
  SETFCAP: 31,
} as const;
export type Capability = keyof typeof CAPABILITIES;

const PR_GET_SECUREBITS = 27;
const PR_SET_SECUREBITS = 28;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_RAISE = 2;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
const SECBIT_NOROOT = 1;
const CAPABILITY_VERSION_3 = 0x20080522;
/** Offsets in the two 12-byte records (effective, permitted, inheritable) that capget fills. */
const PERMITTED = 4;
const INHERITABLE = 8;
const RECORD_BYTES = 12;

const what = (): string => 'capabilities of a container not set';

function header(): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(CAPABILITY_VERSION_3, 0);
  return bytes;
}

/**
 * Calls `action`; programs that it starts keep only `capabilities`, whoever they are and whatever they execute.
 * Synchronous: the thread has its own powers again afterwards. Those that this process lacks are left out.
 */
export function keepingOnly<T>(capabilities: Iterable<Capability>, action: () => T): T {
  const before = Buffer.alloc(2 * RECORD_BYTES);
  check(libc.capget(header(), before), 'capget', what);
  const during = Buffer.from(before);
  const permitted = before.readUInt32LE(PERMITTED);
  let wanted = 0;
  for (const name of capabilities) wanted |= 1 << CAPABILITIES[name];
  wanted = (wanted & permitted) >>> 0;
  during.writeUInt32LE(wanted, INHERITABLE);
  during.writeUInt32LE(0, RECORD_BYTES + INHERITABLE);
  const bits = check(libc.prctl(PR_GET_SECUREBITS, 0, 0, 0, 0), 'prctl', what);
  check(libc.capset(header(), during), 'capset', what);
  try {
    check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), 'prctl', what);
    for (let bit = 0; bit < 32; bit++)
      if ((wanted >>> bit) & 1) check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit, 0, 0), 'prctl', what);
    check(libc.prctl(PR_SET_SECUREBITS, bits | SECBIT_NOROOT, 0, 0, 0), 'prctl', what);
    return action();
  } finally {
    check(libc.prctl(PR_SET_SECUREBITS, bits, 0, 0, 0), 'prctl', what);
    check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), 'prctl', what);
    check(libc.capset(header(), before), 'capset', what);
  }
}
