// How V8 keeps house in a proxy: little lives long, and most garbage is buffers outside its heap. Imported first, since the
// young generation only grows.
//
// By default new space grows to 64 MB with start-up and churn, and the limit that starts a full collection follows the
// small heap, so that bulk traffic caused one about every 20 MB. Measured at bulk and 32 connections: 5.1 -> 4.0 ms of
// CPU per MB, full collections a third, RSS after the load 150 -> 120 MB (of two proxies the mean); new connections cost the same.

import { setFlagsFromString } from 'node:v8';

/** New space stays at what it is at first: 1 MB. */
setFlagsFromString('--semi-space-growth-factor=1');
/** A full collection when heap and buffers are five times what the last one left. */
setFlagsFromString('--heap-growing-percent=400');
/**
 * Young generations of 1 MB are collected on the main thread alone. Helpers have to be woken and waited for, which a busy
 * node takes its time over. Measured at 1,500 new connections/s on two shared cores: a pause 2.8 -> 0.8 ms, the longest
 * 55 -> 6 ms.
 */
setFlagsFromString('--no-parallel-scavenge');
setFlagsFromString('--no-concurrent-array-buffer-sweeping');
