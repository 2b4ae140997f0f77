// One bundle a role, so that a process starts in tens of milliseconds (design: a room starts a dozen of them on two cores).
// Native addons and nothing else stay outside.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, type Plugin } from 'esbuild';

const root = join(import.meta.dirname, '..');

/**
 * An ES import of node:http evaluates all its exports, and one of them loads the whole of Node's fetch (60 ms, 13 MB).
 * Taken as a CommonJS module, only what is used is touched.
 */
const lazyHttp: Plugin = {
  name: 'lazy-http',
  setup(build) {
    build.onResolve({ filter: /^(node:)?https?$/ }, ({ path }) => ({
      path: path.replace(/^node:/, ''),
      namespace: 'lazy-http',
    }));
    build.onLoad({ filter: /.*/, namespace: 'lazy-http' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule('node:${path}');`,
      loader: 'js',
    }));
  },
};

/** role -> entry point */
const roles: Record<string, string> = {
  cli: 'src/cli/main.ts',
  supervisor: 'src/cli/supervise.ts',
  room: 'src/local/room/main.ts',
  api: 'src/kube/server/main.ts',
  control: 'src/control/main.ts',
  'node-agent': 'src/node/main.ts',
  ztunnel: 'src/ztunnel/main.ts',
  proxy: 'src/proxy/main.ts',
  echo: 'src/local/apps/echo.ts',
  client: 'src/local/apps/client.ts',
  shop: 'src/local/apps/shop.ts',
};

mkdirSync(join(root, 'dist'), { recursive: true });
const present = Object.fromEntries(Object.entries(roles).filter(([, entry]) => existsSync(join(root, entry))));
await build({
  absWorkingDir: root,
  entryPoints: present,
  outdir: 'dist',
  outExtension: { '.js': '.mjs' },
  bundle: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  treeShaking: true,
  sourcemap: 'linked',
  legalComments: 'none',
  external: ['koffi'],
  plugins: [lazyHttp],
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
writeFileSync(join(root, 'dist', '.bundled'), '');
