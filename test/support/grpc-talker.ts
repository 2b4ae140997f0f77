// A program: a gRPC server. Say answers with the same text and two trailers, or fails as asked (`fail 5`); Count answers
// that many messages; Chat answers each message; Wait never answers. Port: $PORT.

import { createServer } from 'node:http2';
import { hostname } from 'node:os';
import { create, type Message } from '@bufbuild/protobuf';
import { ConnectError, type HandlerContext } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { Talk } from './grpc-service.ts';

type Text = Message & { readonly text: string };
const schema = Talk.methods[0]?.input;
if (schema === undefined) throw new Error('no method');
const say = (text: string): Message => create(schema, { text } as never);

const handler = connectNodeAdapter({
  routes: (router) =>
    router.service(Talk, {
      say(request: Message, context: HandlerContext) {
        const { text } = request as Text;
        context.responseHeader.set('x-pod', hostname());
        context.responseTrailer.set('x-length', String(text.length));
        context.responseTrailer.set('x-metadata', context.requestHeader.get('x-metadata') ?? '');
        const [, code] = /^fail (\d+)$/.exec(text) ?? [];
        if (code !== undefined) throw new ConnectError('as asked', Number(code));
        return say(text);
      },
      async *count(request: Message) {
        const { text } = request as Text;
        for (let i = 1; i <= Number(text); i++) yield say(String(i));
      },
      async *chat(requests: AsyncIterable<Message>) {
        for await (const request of requests) yield say(`you said ${(request as Text).text}`);
      },
      wait: (_request: Message, context: HandlerContext) =>
        new Promise<Message>((_, reject) =>
          context.signal.addEventListener('abort', () => reject(context.signal.reason)),
        ),
    } as never),
});
createServer(handler).listen(Number(process.env.PORT));
