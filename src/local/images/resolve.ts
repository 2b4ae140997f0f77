// From an image name to something that runs: the user's mappings, then the built-ins. An archive is unpacked by `archive.ts`;
// here it only becomes a folder through the function that the caller gives.

import { dirname } from 'node:path';
import { fail, ok, type Result } from '../../model/result.ts';
import { type Builtin, findBuiltin, type ImageHost, missingPrograms } from './builtin.ts';
import { formatImageName, type ImageName, matchesImage, parseImageName } from './name.ts';
import type { Image, ImageMapping, ImageProblem } from './types.ts';

/** An unpacked archive: its folder and what its configuration says. */
export interface UnpackedImage {
  readonly directory: string;
  readonly id: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
}

export interface ImageSources {
  readonly host: ImageHost;
  readonly mappings: readonly ImageMapping[];
  /** Unpacks once a file and remembers; the error is a sentence. */
  unpack(file: string): Promise<Result<UnpackedImage, string>>;
}

const problem = (kind: ImageProblem['kind'], message: string) => fail<ImageProblem>({ kind, message });

/** Places that a container has for itself: what lies there on the host is not seen unless it is exposed. */
const PRIVATE = ['/tmp', '/run', '/dev'];
const isPrivate = (path: string): boolean => PRIVATE.some((prefix) => path === prefix || path.startsWith(`${prefix}/`));

const exposed = (paths: readonly string[]): string[] => [
  ...new Set(paths.filter((path) => path.startsWith('/') && isPrivate(path))),
];

/**
 * Resolves what a manifest calls an image.
 * @returns the image, or a problem whose message says what to do; nothing is ever fetched from a network
 */
export async function resolveImage(text: string, sources: ImageSources): Promise<Result<Image, ImageProblem>> {
  const name = parseImageName(text);
  if (!name.ok) return problem('badName', name.error);
  const mapping = sources.mappings.findLast((each) => matchesImage(each.name, text, name.value));
  if (mapping !== undefined) return mapped(text, mapping, sources);
  const builtin = findBuiltin(name.value, sources.host);
  if (builtin === undefined) return problem('unknown', unknownMessage(text));
  const missing = builtin.needs?.find((program) => sources.host.find(program) === undefined);
  if (missing !== undefined)
    return problem(
      'programMissing',
      `image \`${text}\` stands for this machine's \`${missing}\`, which is not installed; install it, or map the image: ambit up --image ${text}=COMMAND`,
    );
  return ok(fromBuiltin(name.value, builtin, sources.host));
}

const unknownMessage = (text: string): string =>
  `image \`${text}\` is neither mapped nor built in, and Ambit downloads no images; say what runs for it: ambit up --image ${text}=COMMAND, or --image ${text}=FILE.tar with an archive made by docker save`;

async function mapped(
  text: string,
  mapping: ImageMapping,
  sources: ImageSources,
): Promise<Result<Image, ImageProblem>> {
  const { run, env, workingDir } = mapping;
  if (run.kind === 'archive') {
    const unpacked = await sources.unpack(run.file);
    if (!unpacked.ok)
      return problem('badArchive', `image \`${text}\` could not be read from \`${run.file}\`: ${unpacked.error}`);
    const { directory, ...config } = unpacked.value;
    return ok({
      name: text,
      ...config,
      env: { ...config.env, ...env },
      root: { kind: 'archive', directory },
      system: false,
      describesPod: false,
    });
  }
  const [program = ''] = run.words;
  return ok({
    name: text,
    id: `command:${run.words.join(' ')}`,
    entrypoint: run.words,
    command: [],
    env,
    workingDir,
    root: {
      kind: 'host',
      expose: exposed([
        workingDir,
        ...(program.includes('/') ? [dirname(program)] : []),
        sources.host.ambitRoot,
        dirname(sources.host.node),
      ]),
      programs: missingPrograms(sources.host),
    },
    system: matchesAmbit(text),
    describesPod: false,
  });
}

/** A user's own ztunnel in place of ours is still a part of the mesh. */
const matchesAmbit = (text: string): boolean => /^(docker\.io\/)?ambit\//.test(text);

function fromBuiltin(name: ImageName, builtin: Builtin, host: ImageHost): Image {
  const path = formatImageName(name);
  return {
    name: path,
    id: `builtin:${path}`,
    entrypoint: builtin.entrypoint,
    command: builtin.command,
    env: builtin.env ?? {},
    workingDir: builtin.workingDir ?? '/',
    root: {
      kind: 'host',
      expose: exposed([host.ambitRoot, dirname(host.node)]),
      programs: [...missingPrograms(host), ...(builtin.programs ?? [])],
    },
    system: builtin.system ?? false,
    describesPod: builtin.describesPod ?? false,
  };
}
