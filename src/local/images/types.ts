// What an image name becomes in a room: something that can be started, and the files that it sees.

/** The files of a container: the host's own as a private view, or an unpacked archive. */
export type ImageRoot =
  | {
      readonly kind: 'host';
      /** Folders that must be visible although they lie where the container has files of its own (`/tmp`, `/run`). */
      readonly expose: readonly string[];
      /** Programs that the image has and this machine lacks: path in the container → how it is made. */
      readonly programs: readonly ImageProgram[];
    }
  | { readonly kind: 'archive'; readonly directory: string };

export type ImageProgram =
  | { readonly path: string; readonly kind: 'link'; readonly target: string }
  | { readonly path: string; readonly kind: 'script'; readonly text: string };

/** An image that can run. `entrypoint` and `command` mean what ENTRYPOINT and CMD mean. */
export interface Image {
  readonly name: string;
  /** Shown as `imageID` in the container's status. */
  readonly id: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly root: ImageRoot;
  /** A part of Ambit itself: trusted with the shared compile cache. */
  readonly system: boolean;
  /** Told about its pod by variables (POD_NAME …) where the manifest does not set them. */
  readonly describesPod: boolean;
}

/** Why an image cannot run here; `message` says what to do. */
export interface ImageProblem {
  readonly kind: 'unknown' | 'programMissing' | 'badName' | 'badArchive';
  readonly message: string;
}

/** How the user says what an image is: a command of this machine, or an archive. */
export interface ImageMapping {
  /** Image name; without a tag it means every tag, and `*` stands for any text. */
  readonly name: string;
  readonly run:
    | { readonly kind: 'command'; readonly words: readonly string[] }
    | { readonly kind: 'archive'; readonly file: string };
  readonly env: Readonly<Record<string, string>>;
  /** Where the command starts, absolute. */
  readonly workingDir: string;
}
