import { svidgate } from './generated/messages.js';
import type { Codec } from './messages.ts';
import type { GrpcMethod } from './services.ts';

const v1 = svidgate.admin.v1;

/** A gRPC method with the codecs of its messages, so that both of its ends are checked by the compiler. */
export interface Rpc<Request, RequestInit, Response, ResponseInit> extends GrpcMethod {
  readonly request: Codec<Request, RequestInit>;
  readonly response: Codec<Response, ResponseInit>;
}

function unary<Request, RequestInit, Response, ResponseInit>(
  name: `${string}/${string}`,
  request: Codec<Request, RequestInit>,
  response: Codec<Response, ResponseInit>,
) {
  const path = `/svidgate.admin.v1.${name}`;
  return { path, requestStream: false, responseStream: false, request, response } as const;
}

function serverStream<Request, RequestInit, Response, ResponseInit>(
  name: `${string}/${string}`,
  request: Codec<Request, RequestInit>,
  response: Codec<Response, ResponseInit>,
) {
  const path = `/svidgate.admin.v1.${name}`;
  return { path, requestStream: false, responseStream: true, request, response } as const;
}

/** The methods of svidgate.admin.v1, all its services together. */
export const ADMIN_RPCS = {
  listEntries: unary('EntryAdmin/ListEntries', v1.ListEntriesRequest, v1.ListEntriesResponse),
  getEntry: unary('EntryAdmin/GetEntry', v1.GetEntryRequest, v1.Entry),
  createEntry: unary('EntryAdmin/CreateEntry', v1.CreateEntryRequest, v1.Entry),
  updateEntry: unary('EntryAdmin/UpdateEntry', v1.UpdateEntryRequest, v1.Entry),
  deleteEntry: unary('EntryAdmin/DeleteEntry', v1.DeleteEntryRequest, v1.DeleteEntryResponse),
  importEntries: unary('EntryAdmin/ImportEntries', v1.ImportEntriesRequest, v1.ImportEntriesResponse),
  listAuthorities: unary('AuthorityAdmin/ListAuthorities', v1.ListAuthoritiesRequest, v1.ListAuthoritiesResponse),
  prepareAuthority: unary('AuthorityAdmin/PrepareAuthority', v1.PrepareAuthorityRequest, v1.ListAuthoritiesResponse),
  activateAuthority: unary('AuthorityAdmin/ActivateAuthority', v1.AuthorityRequest, v1.ListAuthoritiesResponse),
  taintAuthority: unary('AuthorityAdmin/TaintAuthority', v1.AuthorityRequest, v1.ListAuthoritiesResponse),
  revokeAuthority: unary('AuthorityAdmin/RevokeAuthority', v1.AuthorityRequest, v1.ListAuthoritiesResponse),
  listBundles: unary('BundleAdmin/ListBundles', v1.ListBundlesRequest, v1.ListBundlesResponse),
  getBundle: unary('BundleAdmin/GetBundle', v1.GetBundleRequest, v1.GetBundleResponse),
  setBundle: unary('BundleAdmin/SetBundle', v1.SetBundleRequest, v1.Bundle),
  deleteBundle: unary('BundleAdmin/DeleteBundle', v1.DeleteBundleRequest, v1.DeleteBundleResponse),
  listRevocations: unary('SvidAdmin/ListRevocations', v1.ListRevocationsRequest, v1.ListRevocationsResponse),
  revoke: unary('SvidAdmin/Revoke', v1.RevokeRequest, v1.Revocation),
  undoRevocation: unary('SvidAdmin/UndoRevocation', v1.UndoRevocationRequest, v1.Revocation),
  getStatus: unary('StatusAdmin/GetStatus', v1.GetStatusRequest, v1.Status),
  watchStatus: serverStream('StatusAdmin/WatchStatus', v1.WatchStatusRequest, v1.Status),
  explainAttestation: unary(
    'AttestAdmin/ExplainAttestation',
    v1.ExplainAttestationRequest,
    v1.ExplainAttestationResponse,
  ),
  getShadowReport: unary('PolicyAdmin/GetShadowReport', v1.GetShadowReportRequest, v1.GetShadowReportResponse),
  clearShadowReport: unary('PolicyAdmin/ClearShadowReport', v1.ClearShadowReportRequest, v1.ClearShadowReportResponse),
  getPolicyHistory: unary('PolicyAdmin/GetPolicyHistory', v1.GetPolicyHistoryRequest, v1.GetPolicyHistoryResponse),
  rollBackPolicy: unary('PolicyAdmin/RollBackPolicy', v1.RollBackPolicyRequest, v1.PolicyStatus),
  releasePolicy: unary('PolicyAdmin/ReleasePolicy', v1.ReleasePolicyRequest, v1.PolicyStatus),
  backup: serverStream('StateAdmin/Backup', v1.BackupRequest, v1.BackupChunk),
} as const;

/** The name of a method of the admin API. */
export type AdminRpcName = keyof typeof ADMIN_RPCS;

type Types<Name extends AdminRpcName> =
  (typeof ADMIN_RPCS)[Name] extends Rpc<infer Request, infer RequestInit, infer Response, infer ResponseInit>
    ? {
        readonly request: Request;
        readonly requestInit: RequestInit;
        readonly response: Response;
        readonly responseInit: ResponseInit;
      }
    : never;

/** A method with the types of its messages, which the compiler cannot see through the name by itself. */
export function adminRpc<Name extends AdminRpcName>(
  name: Name,
): Rpc<AdminRequest<Name>, AdminRequestInit<Name>, AdminResponse<Name>, AdminResponseInit<Name>> {
  return ADMIN_RPCS[name];
}

export type AdminRequest<Name extends AdminRpcName> = Types<Name>['request'];
export type AdminRequestInit<Name extends AdminRpcName> = Types<Name>['requestInit'];
export type AdminResponse<Name extends AdminRpcName> = Types<Name>['response'];
export type AdminResponseInit<Name extends AdminRpcName> = Types<Name>['responseInit'];
