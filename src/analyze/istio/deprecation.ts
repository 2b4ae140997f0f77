// Fields that still work and will not for ever.

import type { Analyzer } from '../analyzer.ts';
import type { Field } from '../field.ts';
import { KIND } from '../kinds.ts';

interface Old {
  readonly type: string;
  /** Every place where the old field may stand. */
  readonly places: (spec: Field) => readonly Field[];
  readonly instead: string;
}

const http = (spec: Field): Field[] => spec.at('http').items();
const policies = (spec: Field): Field[] => {
  const all = [
    spec.at('trafficPolicy'),
    ...spec
      .at('subsets')
      .items()
      .map((subset) => subset.at('trafficPolicy')),
  ];
  return [...all, ...all.flatMap((policy) => policy.at('portLevelSettings').items())];
};

const OLD: readonly Old[] = [
  {
    type: KIND.virtualService,
    places: (spec) => http(spec).map((route) => route.at('fault', 'delay', 'percent')),
    instead: 'fault.delay.percentage',
  },
  {
    type: KIND.virtualService,
    places: (spec) => http(spec).map((route) => route.at('mirrorPercent')),
    instead: 'mirrorPercentage',
  },
  {
    type: KIND.virtualService,
    places: (spec) => http(spec).map((route) => route.at('corsPolicy', 'allowOrigin')),
    instead: 'corsPolicy.allowOrigins',
  },
  {
    type: KIND.destinationRule,
    places: (spec) => policies(spec).map((policy) => policy.at('outlierDetection', 'consecutiveErrors')),
    instead: 'consecutive5xxErrors or consecutiveGatewayErrors',
  },
  {
    type: KIND.destinationRule,
    places: (spec) => policies(spec).map((policy) => policy.at('loadBalancer', 'consistentHash', 'minimumRingSize')),
    instead: 'consistentHash.ringHash.minimumRingSize',
  },
  {
    type: KIND.destinationRule,
    places: (spec) => policies(spec).map((policy) => policy.at('loadBalancer', 'warmupDurationSecs')),
    instead: 'loadBalancer.warmup.duration',
  },
  { type: KIND.sidecar, places: (spec) => [spec.at('localhost')], instead: 'nothing: it has no effect' },
  { type: KIND.authorizationPolicy, places: (spec) => [spec.at('targetRef')], instead: 'targetRefs' },
  {
    type: KIND.requestAuthentication,
    places: (spec) =>
      spec
        .at('jwtRules')
        .items()
        .map((rule) => rule.at('jwks_uri')),
    instead: 'jwksUri',
  },
];

export const deprecationAnalyzer: Analyzer = {
  name: 'deprecation.DeprecationAnalyzer',
  description: 'fields that are deprecated',
  codes: ['IST0002'],
  analyze(world, report) {
    for (const { type, places, instead } of OLD)
      for (const resource of world.all(type))
        for (const field of places(resource.spec))
          if (field.isSet) report('IST0002', resource, field, `${field.name}; instead there is ${instead}`);
  },
};
