// A gRPC service of the tests: one method of each kind that matters to a proxy, on strings. Its descriptor is built here,
// so that nothing has to be generated.

import { create, createFileRegistry, type DescService } from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';

const text = '.ambit.test.Text';
const file: FileDescriptorProto = create(FileDescriptorProtoSchema, {
  name: 'ambit/test/talk.proto',
  package: 'ambit.test',
  syntax: 'proto3',
  messageType: [{ name: 'Text', field: [{ name: 'text', number: 1, type: 9, label: 1, jsonName: 'text' }] }],
  service: [
    {
      name: 'Talk',
      method: [
        { name: 'Say', inputType: text, outputType: text },
        { name: 'Count', inputType: text, outputType: text, serverStreaming: true },
        { name: 'Chat', inputType: text, outputType: text, clientStreaming: true, serverStreaming: true },
        { name: 'Wait', inputType: text, outputType: text },
      ],
    },
  ],
});

const found = createFileRegistry(file, () => undefined).getService('ambit.test.Talk');
if (found === undefined) throw new Error('the descriptor of the test service is broken');
export const Talk: DescService = found;
