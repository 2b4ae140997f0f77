// EnvoyFilters whose patches depend on an order that nobody set, or use an operation where it has no effect.

import type { Analyzer } from '../analyzer.ts';
import { KIND } from '../kinds.ts';

const FILTERS = new Set(['HTTP_FILTER', 'NETWORK_FILTER', 'LISTENER_FILTER']);
/** They act on what is there when their turn comes. */
const RELATIVE = new Set(['INSERT_BEFORE', 'INSERT_AFTER', 'REPLACE', 'MERGE', 'REMOVE']);

export const envoyPatchAnalyzer: Analyzer = {
  name: 'envoyfilter.EnvoyPatchAnalyzer',
  description: 'patches of EnvoyFilters that may not do what they say',
  codes: ['IST0151', 'IST0152', 'IST0153', 'IST0154', 'IST0155'],
  analyze(world, report) {
    for (const filter of world.all(KIND.envoyFilter)) {
      const unordered = !filter.spec.at('priority').isSet;
      for (const patch of filter.spec.at('configPatches').items()) {
        const applyTo = patch.at('applyTo').text;
        const operation = patch.at('patch', 'operation');
        if (operation.text === 'REPLACE' && !FILTERS.has(applyTo)) report('IST0152', filter, operation);
        if (operation.text === 'ADD' && ['ROUTE_CONFIGURATION', 'HTTP_ROUTE'].includes(applyTo))
          report('IST0153', filter, operation);
        if (operation.text === 'REMOVE' && ['ROUTE_CONFIGURATION', 'HTTP_ROUTE'].includes(applyTo))
          report('IST0154', filter, operation);
        if (!unordered || !RELATIVE.has(operation.text)) continue;
        const version = patch.at('match', 'proxy', 'proxyVersion').text !== '';
        report(version ? 'IST0155' : 'IST0151', filter, operation);
      }
    }
  },
};
