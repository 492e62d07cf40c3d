"""The messages of MCP 2026-07-28; written by `scripts/build-shapes` from `mcp-types` (P)."""

TEXT = """\
-> notifications/cancelled CancelledNotificationParams
<- notifications/cancelled CancelledNotificationParams
<- notifications/message LoggingMessageNotificationParams
<- notifications/progress ProgressNotificationParams
<- notifications/prompts/list_changed NotificationParams?
<- notifications/resources/list_changed NotificationParams?
<- notifications/resources/updated ResourceUpdatedNotificationParams
<- notifications/subscriptions/acknowledged SubscriptionsAcknowledgedNotificationParams
<- notifications/tools/list_changed NotificationParams?
> completion/complete CompleteRequestParams CompleteResult
> prompts/get GetPromptRequestParams GetPromptResult
> prompts/list PaginatedRequestParams ListPromptsResult
> resources/list PaginatedRequestParams ListResourcesResult
> resources/read ReadResourceRequestParams ReadResourceResult
> resources/templates/list PaginatedRequestParams ListResourceTemplatesResult
> server/discover RequestParams DiscoverResult
> subscriptions/listen SubscriptionsListenRequestParams SubscriptionsListenResult
> tools/call CallToolRequestParams CallToolResult
> tools/list PaginatedRequestParams ListToolsResult
Annotations = audience?:['assistant'|'user'] lastModified?:s priority?:n
Argument = name:s value:s
AudioContent = _meta?:{} annotations?:Annotations data:s mimeType:s type:'audio'
BlobResourceContents = _meta?:{} blob:s mimeType?:s uri:s
CallToolRequestParams = _meta:RequestMetaObject arguments?:{}
  inputResponses?:{CreateMessageResult|ListRootsResult|ElicitResult} name:s requestState?:s
CallToolResult = _meta?:ResultMetaObject
  content:[TextContent|ImageContent|AudioContent|ResourceLink|EmbeddedResource] isError?:b resultType:s
  structuredContent?:*
CancelledNotificationParams = _meta?:NotificationMetaObject reason?:s requestId:s|i
ClientCapabilities = elicitation?:Elicitation experimental?:{{}} extensions?:{{}} roots?:{}
  sampling?:Sampling
CompleteRequestParams = _meta:RequestMetaObject argument:Argument context?:Context
  ref:PromptReference|ResourceTemplateReference
CompleteResult = _meta?:ResultMetaObject completion:Completion resultType:s
Completion = hasMore?:b total?:i values:[s]
Context = arguments?:{s}
CreateMessageRequest = method:'sampling/createMessage' params:CreateMessageRequestParams
CreateMessageRequestParams = includeContext?:'none'|'thisServer'|'allServers' maxTokens:i
  messages:[SamplingMessage] metadata?:{} modelPreferences?:ModelPreferences stopSequences?:[s]
  systemPrompt?:s temperature?:n toolChoice?:ToolChoice tools?:[Tool]
CreateMessageResult = _meta?:{}
  content:TextContent|ImageContent|AudioContent|ToolUseContent|ToolResultContent|[TextContent|ImageContent|AudioContent|ToolUseContent|ToolResultContent]
  model:s role:'assistant'|'user' stopReason?:s
DiscoverResult = _meta?:ResultMetaObject cacheScope:'private'|'public' capabilities:ServerCapabilities
  instructions?:s resultType:s supportedVersions:[s] ttlMs:i
ElicitRequest = method:'elicitation/create' params:ElicitRequestFormParams|ElicitRequestURLParams
ElicitRequestFormParams = message:s mode?:'form' requestedSchema:RequestedSchema
ElicitRequestURLParams = message:s mode:'url' url:s
ElicitResult = action:'accept'|'cancel'|'decline' content?:{[s]|s|i|n|b}
Elicitation = form?:{} url?:{}
EmbeddedResource = _meta?:{} annotations?:Annotations resource:TextResourceContents|BlobResourceContents
  type:'resource'
GetPromptRequestParams = _meta:RequestMetaObject arguments?:{s}
  inputResponses?:{CreateMessageResult|ListRootsResult|ElicitResult} name:s requestState?:s
GetPromptResult = _meta?:ResultMetaObject description?:s messages:[PromptMessage] resultType:s
Icon = mimeType?:s sizes?:[s] src:s theme?:'light'|'dark'
ImageContent = _meta?:{} annotations?:Annotations data:s mimeType:s type:'image'
Implementation = description?:s icons?:[Icon] name:s title?:s version:s websiteUrl?:s
InputRequiredResult = _meta?:ResultMetaObject
  inputRequests?:{CreateMessageRequest|ListRootsRequest|ElicitRequest} requestState?:s resultType:s
InputSchema = $schema?:s type:'object'
ListPromptsResult = _meta?:ResultMetaObject cacheScope:'private'|'public' nextCursor?:s prompts:[Prompt]
  resultType:s ttlMs:i
ListResourceTemplatesResult = _meta?:ResultMetaObject cacheScope:'private'|'public' nextCursor?:s
  resourceTemplates:[ResourceTemplate] resultType:s ttlMs:i
ListResourcesResult = _meta?:ResultMetaObject cacheScope:'private'|'public' nextCursor?:s
  resources:[Resource] resultType:s ttlMs:i
ListRootsRequest = method:'roots/list' params?:Params
ListRootsResult = roots:[Root]
ListToolsResult = _meta?:ResultMetaObject cacheScope:'private'|'public' nextCursor?:s resultType:s
  tools:[Tool] ttlMs:i
LoggingMessageNotificationParams = _meta?:NotificationMetaObject data:*
  level:'alert'|'critical'|'debug'|'emergency'|'error'|'info'|'notice'|'warning' logger?:s
ModelHint = name?:s
ModelPreferences = costPriority?:n hints?:[ModelHint] intelligencePriority?:n speedPriority?:n
NotificationMetaObject = io.modelcontextprotocol/subscriptionId?:s|i
NotificationParams = _meta?:NotificationMetaObject
OutputSchema = $schema?:s
PaginatedRequestParams = _meta:RequestMetaObject cursor?:s
Params = _meta?:{}
ProgressNotificationParams = _meta?:NotificationMetaObject message?:s progress:n progressToken:s|i
  total?:n
Prompt = _meta?:{} arguments?:[PromptArgument] description?:s icons?:[Icon] name:s title?:s
PromptArgument = description?:s name:s required?:b title?:s
PromptMessage = content:TextContent|ImageContent|AudioContent|ResourceLink|EmbeddedResource
  role:'assistant'|'user'
PromptReference = name:s title?:s type:'ref/prompt'
Prompts = listChanged?:b
ReadResourceRequestParams = _meta:RequestMetaObject
  inputResponses?:{CreateMessageResult|ListRootsResult|ElicitResult} requestState?:s uri:s
ReadResourceResult = _meta?:ResultMetaObject cacheScope:'private'|'public'
  contents:[TextResourceContents|BlobResourceContents] resultType:s ttlMs:i
RequestMetaObject = io.modelcontextprotocol/clientCapabilities:ClientCapabilities
  io.modelcontextprotocol/clientInfo?:Implementation
  io.modelcontextprotocol/logLevel?:'alert'|'critical'|'debug'|'emergency'|'error'|'info'|'notice'|'warning'
  io.modelcontextprotocol/protocolVersion:s progressToken?:s|i
RequestParams = _meta:RequestMetaObject
RequestedSchema = $schema?:s properties:{} required?:[s] type:'object'
Resource = _meta?:{} annotations?:Annotations description?:s icons?:[Icon] mimeType?:s name:s size?:i
  title?:s uri:s
ResourceLink = _meta?:{} annotations?:Annotations description?:s icons?:[Icon] mimeType?:s name:s size?:i
  title?:s type:'resource_link' uri:s
ResourceTemplate = _meta?:{} annotations?:Annotations description?:s icons?:[Icon] mimeType?:s name:s
  title?:s uriTemplate:s
ResourceTemplateReference = type:'ref/resource' uri:s
ResourceUpdatedNotificationParams = _meta?:NotificationMetaObject uri:s
Resources = listChanged?:b subscribe?:b
ResultMetaObject = io.modelcontextprotocol/serverInfo?:*
Root = _meta?:{} name?:s uri:s
Sampling = context?:{} tools?:{}
SamplingMessage = _meta?:{}
  content:TextContent|ImageContent|AudioContent|ToolUseContent|ToolResultContent|[TextContent|ImageContent|AudioContent|ToolUseContent|ToolResultContent]
  role:'assistant'|'user'
ServerCapabilities = completions?:{} experimental?:{{}} extensions?:{{}} logging?:{} prompts?:Prompts
  resources?:Resources tools?:Tools
SubscriptionFilter = promptsListChanged?:b resourceSubscriptions?:[s] resourcesListChanged?:b
  toolsListChanged?:b
SubscriptionsAcknowledgedNotificationParams = _meta?:NotificationMetaObject
  notifications:SubscriptionFilter
SubscriptionsListenRequestParams = _meta:RequestMetaObject notifications:SubscriptionFilter
SubscriptionsListenResult = _meta:SubscriptionsListenResultMeta resultType:s
SubscriptionsListenResultMeta = io.modelcontextprotocol/serverInfo?:*
  io.modelcontextprotocol/subscriptionId:s|i
TextContent = _meta?:{} annotations?:Annotations text:s type:'text'
TextResourceContents = _meta?:{} mimeType?:s text:s uri:s
Tool = _meta?:{} annotations?:ToolAnnotations description?:s icons?:[Icon] inputSchema:InputSchema name:s
  outputSchema?:OutputSchema title?:s
ToolAnnotations = destructiveHint?:b idempotentHint?:b openWorldHint?:b readOnlyHint?:b title?:s
ToolChoice = mode?:'auto'|'required'|'none'
ToolResultContent = _meta?:{}
  content:[TextContent|ImageContent|AudioContent|ResourceLink|EmbeddedResource] isError?:b
  structuredContent?:* toolUseId:s type:'tool_result'
ToolUseContent = _meta?:{} id:s input:{} name:s type:'tool_use'
Tools = listChanged?:b
"""
