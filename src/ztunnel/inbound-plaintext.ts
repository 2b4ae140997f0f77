// Plaintext connections into a pod, captured at port 15006: judged without an identity, then joined to the application.

import type { ConnectingStream } from '../dataplane/endpoints.ts';
import { type Failure, failureOf, policyRejection } from '../dataplane/failure.ts';
import type { Connection } from '../model/connection.ts';
import { decideInboundPlaintext } from '../model/inbound.ts';
import type { HostPort } from '../model/ip.ts';
import { peerOf } from '../model/traffic.ts';
import type { Workload } from '../model/workload.ts';
import { originalDestination } from '../platform/linux/sockets.ts';
import type { TcpStream } from '../platform/tcp/stream.ts';
import type { ResetCode } from '../wire/hbone/index.ts';
import { TrackedConnection } from './connections.ts';
import { type PodContext, WORKLOAD_WAIT_MS } from './context.ts';
import { StreamPair } from './copy.ts';
import { type ToApplication, toApplication } from './inbound-app.ts';
import { judge } from './judge.ts';

/** The plaintext side of one pod: hand accepted streams, not started, to `accept`. */
export class InboundPlaintext {
  readonly #pod: PodContext;
  readonly #application: ToApplication;

  constructor(pod: PodContext) {
    this.#pod = pod;
    this.#application = toApplication(pod);
  }

  readonly accept = (stream: TcpStream): void => {
    const pod = this.#pod;
    const peer = stream.remote();
    const dialled = originalDestination(stream.fd) ?? stream.local();
    if (peer === undefined || dialled === undefined) {
      stream.destroy();
      return;
    }
    if (pod.table.size >= pod.bounds.maxConnectionsPerPod) {
      pod.telemetry.denied({
        direction: 'inbound',
        sourceAddress: peer,
        destinationAddress: dialled,
        error: `too many connections of one pod: ${pod.table.size} are open`,
      });
      stream.reset();
      return;
    }
    new PlaintextConnection(pod, this.#application, stream, peer, dialled).begin();
  };
}

class PlaintextConnection extends TrackedConnection {
  readonly #pod: PodContext;
  readonly #application: ToApplication;
  readonly #stream: TcpStream;
  readonly #peer: HostPort;
  readonly #dialled: HostPort;
  #judged: Connection | undefined = undefined;
  #connecting: ConnectingStream | undefined = undefined;
  #pair: StreamPair | undefined = undefined;

  constructor(pod: PodContext, application: ToApplication, stream: TcpStream, peer: HostPort, dialled: HostPort) {
    super(pod.table, pod.telemetry);
    this.#pod = pod;
    this.#application = application;
    this.#stream = stream;
    this.#peer = peer;
    this.#dialled = dialled;
    pod.telemetry.sockets('destination', 1);
  }

  begin(): void {
    const { state, pod } = this.#pod;
    const destination = state.localWorkload(pod);
    if (destination !== undefined) {
      this.#decide(destination);
      return;
    }
    state.waitForWorkload(pod, WORKLOAD_WAIT_MS).then(
      (found) => {
        if (this.over) return;
        if (found !== undefined) this.#decide(found);
        else this.#deny(`unknown destination: no workload ${pod.namespace}/${pod.name} on this node`);
      },
      (error: unknown) => this.#deny(failureOf(error).error),
    );
  }

  #decide(destination: Workload): void {
    const { state } = this.#pod;
    const decision = decideInboundPlaintext(state.world, destination, this.#peer, this.#dialled);
    if (decision.kind === 'refuse') {
      this.#deny(decision.text);
      return;
    }
    const { source, service, connection } = decision;
    this.count({
      direction: 'inbound',
      sourceAddress: this.#peer,
      source: source && peerOf(source),
      sourceIdentity: undefined,
      destinationAddress: this.#dialled,
      hboneAuthority: undefined,
      destination: peerOf(destination),
      destinationIdentity: undefined,
      destinationService: service,
      originalDestination: this.#dialled,
    });
    this.#judged = connection;
    const verdict = judge(this.#pod, destination, connection);
    if (verdict.effect === 'deny') {
      this.end(policyRejection(verdict.reason), 'CANCEL');
      return;
    }
    this.#connecting = this.#application.connect(
      decision.dial,
      this.#peer.ip,
      (upstream) => {
        this.#connecting = undefined;
        this.#pair = new StreamPair(this.#stream, upstream, this, (failure) => this.finish(failure));
      },
      (failure) => this.end(failure, 'CANCEL'),
    );
  }

  #deny(error: string): void {
    if (this.over) return;
    this.telemetry.denied({
      direction: 'inbound',
      sourceAddress: this.#peer,
      destinationAddress: this.#dialled,
      error,
    });
    this.end({ flag: 'CONNECT', error }, 'CANCEL');
  }

  protected override finish(failure: Failure | undefined): void {
    if (this.over) return;
    super.finish(failure);
    this.telemetry.sockets('destination', -1);
  }

  protected release(_code: ResetCode): void {
    this.#connecting?.cancel();
    if (this.#pair !== undefined) this.#pair.cut();
    else this.#stream.reset();
  }

  stillAllowed(): boolean {
    const { state, pod, authorizer } = this.#pod;
    const destination = state.localWorkload(pod);
    if (this.#judged === undefined || destination === undefined) return true;
    return authorizer.authorize(destination, this.#judged).effect === 'allow';
  }
}
