// Calls of the test's gRPC service by a real client; also a program: `grpc-caller.ts URL CALLS`, calls and outcomes as JSON.

import { create, type DescMethodStreaming, type DescMethodUnary, type Message } from '@bufbuild/protobuf';
import { ConnectError } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { Talk } from './grpc-service.ts';

export interface Call {
  readonly method: 'Say' | 'Count' | 'Chat' | 'Wait';
  /** What is sent; Chat sends each and waits for its answer before the next. */
  readonly texts: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
  readonly deadlineMs?: number;
}
export interface Outcome {
  /** Number of the gRPC status. */
  readonly code: number;
  readonly message: string;
  readonly texts: readonly string[];
  readonly header: Readonly<Record<string, string>>;
  readonly trailer: Readonly<Record<string, string>>;
}

type Text = Message & { readonly text: string };

async function call(url: string, { method, texts, headers = {}, deadlineMs = 10_000 }: Call): Promise<Outcome> {
  const transport = createGrpcTransport({ baseUrl: url });
  const described = Talk.methods.find(({ name }) => name === method);
  if (described === undefined) throw new Error(`no method ${method}`);
  const answers: string[] = [];
  try {
    const message = (text: string): Message => create(described.input, { text } as never);
    if (described.methodKind === 'unary') {
      const unary = described as DescMethodUnary;
      const {
        message: answer,
        header,
        trailer,
      } = await transport.unary(unary, undefined, deadlineMs, headers, message(texts[0] ?? ''));
      return {
        code: 0,
        message: '',
        texts: [(answer as Text).text],
        header: Object.fromEntries(header),
        trailer: Object.fromEntries(trailer),
      };
    }
    let answered = Promise.withResolvers<void>();
    const sent = async function* (): AsyncGenerator<Message> {
      for (const text of texts) {
        answered = Promise.withResolvers<void>();
        yield message(text);
        if (method === 'Chat') await answered.promise;
      }
    };
    const streaming = described as DescMethodStreaming;
    const response = await transport.stream(streaming, undefined, deadlineMs, headers, sent());
    for await (const answer of response.message) {
      answers.push((answer as Text).text);
      answered.resolve();
    }
    return {
      code: 0,
      message: '',
      texts: answers,
      header: Object.fromEntries(response.header),
      trailer: Object.fromEntries(response.trailer),
    };
  } catch (error) {
    const { code, rawMessage, metadata } = ConnectError.from(error);
    return { code, message: rawMessage, texts: answers, header: {}, trailer: Object.fromEntries(metadata) };
  }
}

export const callAll = (url: string, calls: readonly Call[]): Promise<Outcome[]> =>
  Promise.all(calls.map((one) => call(url, one)));

if (import.meta.main) {
  const [, , url = '', calls = '[]'] = process.argv;
  console.log(JSON.stringify(await callAll(url, JSON.parse(calls) as Call[])));
  process.exit(0);
}
