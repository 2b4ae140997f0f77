// Objects of files against the schemas of their kinds: unknown fields, wrong types, missing values, as the API would say.

import { Field, type Path } from '../../analyze/field.ts';
import { type Message, toMessage } from '../../analyze/message.ts';
import type { Resource } from '../../analyze/resource.ts';
import { isMeshGroup } from '../../kube/server/kinds/mesh.ts';
import { Registry } from '../../kube/server/kinds/registry.ts';
import { checkAndPrune } from '../../kube/server/schema/check.ts';

/** Messages about objects of the mesh's own kinds; other kinds are Kubernetes' affair. */
export async function schemaMessages(resources: readonly Resource[]): Promise<readonly Message[]> {
  const registry = new Registry();
  const messages: Message[] = [];
  for (const resource of resources) {
    if (!isMeshGroup(resource.group)) continue;
    const say = (path: string, text: string): void => {
      messages.push(toMessage('IST0106', resource, new Field(undefined, pathOf(path)), [text]));
    };
    const apiVersion = `${resource.group}/${resource.version}`;
    const served = registry.findKind(apiVersion, resource.kind);
    if (served === undefined) {
      say('apiVersion', `${apiVersion} has no kind \`${resource.kind}\``);
      continue;
    }
    const { value, faults } = checkAndPrune(served.kind.schema(served.version), resource.object);
    for (const { path, detail, kind } of faults) {
      if (kind === 'unknown') say(path, `${path} is unknown`);
      else if (kind === 'type') say(path, `${path} ${detail}`);
    }
    if (faults.some(({ kind }) => kind === 'type')) continue;
    const deep = await served.kind.deepValidator?.();
    for (const { path, detail = '', type } of deep?.(value as Parameters<typeof deep>[0]) ?? [])
      say(path, `${path} ${type === 'required' ? 'is required' : 'is invalid'}${detail === '' ? '' : `: ${detail}`}`);
  }
  return messages;
}

/** `spec.http[0].match` as steps; what stands in brackets is an index, or the key of a mapping. */
function pathOf(text: string): Path {
  return [...text.matchAll(/([^.[\]]+)|\[([^\]]*)\]/g)].map(
    ([, name, inner]) => name ?? (/^\d+$/.test(inner ?? '') ? Number(inner) : (inner ?? '')),
  );
}
