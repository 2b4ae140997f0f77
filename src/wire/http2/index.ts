// HTTP/2 that carries messages, sans-I/O, on the sessions that also carry HBONE.

export { HttpClientSession, type ResponseSink } from './client.ts';
export { type Content, type RequestHead, type RequestToSend, type ResponseHead, responseList } from './messages.ts';
export { HttpServerSession, type MessageSink, type ServerEvents } from './server.ts';
