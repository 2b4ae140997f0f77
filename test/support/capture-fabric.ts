// Started by nsenter inside a room's network namespace: captures what crosses the fabric, and prints each TCP segment
// with a payload as one JSON line. Says `capturing` first; ends when its input does.

import { Capture } from '../../src/dataplane/testing/capture.ts';
import { Netns } from '../../src/platform/linux/netns.ts';

const capture = new Capture(Netns.current());
process.stdout.write('"capturing"\n');
process.stdin.resume();
process.stdin.on('end', () => {
  for (const { source, destination, destinationPort, sourcePort, payload } of capture.stop())
    if (payload.length > 0)
      process.stdout.write(
        `${JSON.stringify({ source, sourcePort, destination, destinationPort, payload: payload.toString('base64') })}\n`,
      );
});
