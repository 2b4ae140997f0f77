import { fail, type Result } from '../../model/result.ts';
import type { UnpackedImage } from './resolve.ts';
export async function unpackArchive(file: string, folder: string): Promise<Result<UnpackedImage, string>> {
  return fail(`${file} ${folder}`);
}
